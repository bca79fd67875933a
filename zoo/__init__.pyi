"""The public names of the zoo and the modules that define them: for users first of all `train`, `evaluate`,
`predict`, `load`, `Registry` and `AdapterSpec`, for authors of plugins `Method`, `Task`, `Source`, their
subclasses, `param` and `hookimpl`, and for both the errors.
"""

from .adapters.evaluate import evaluate as evaluate
from .adapters.load import load as load
from .adapters.load import predict as predict
from .adapters.load import restore as restore
from .errors import AuthError as AuthError
from .errors import DataError as DataError
from .errors import FullError as FullError
from .errors import IncompatibleError as IncompatibleError
from .errors import Interrupted as Interrupted
from .errors import LockedError as LockedError
from .errors import NotFoundError as NotFoundError
from .errors import OptionError as OptionError
from .errors import PluginError as PluginError
from .errors import RegistryError as RegistryError
from .errors import UnreachableError as UnreachableError
from .errors import UsageError as UsageError
from .errors import ZooError as ZooError
from .plugins.hookspecs import PLUGIN_API as PLUGIN_API
from .plugins.hookspecs import hookimpl as hookimpl
from .plugins.method import Method as Method
from .plugins.params import param as param
from .plugins.peft_method import TARGETS as TARGETS
from .plugins.peft_method import PeftMethod as PeftMethod
from .plugins.peft_method import PromptMethod as PromptMethod
from .plugins.peft_method import Targets as Targets
from .plugins.run import Evaluation as Evaluation
from .plugins.run import Run as Run
from .plugins.run import TrainResult as TrainResult
from .plugins.source import Kind as Kind
from .plugins.source import Offer as Offer
from .plugins.source import Resolved as Resolved
from .plugins.source import Source as Source
from .plugins.transformer_layers import Layer as Layer
from .plugins.transformer_layers import layers_of as layers_of
from .registry.schema import AdapterRecord as AdapterRecord
from .registry.schema import AdapterSpec as AdapterSpec
from .registry.schema import BaseId as BaseId
from .registry.schema import Metric as Metric
from .registry.store import Registry as Registry
from .runtime.console import Report as Report
from .tasks.base import Task as Task
from .tasks.causal_lm.task import CausalLanguageModelling as CausalLanguageModelling
from .tasks.image_text.task import ImageTextRetrieval as ImageTextRetrieval
from .tasks.text_classification import TextClassification as TextClassification
from .training.pipeline import train as train

__version__: str
