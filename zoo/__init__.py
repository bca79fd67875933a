"""adapter-zoo: train, evaluate, card and keep PEFT adapters, each method and task a plugin.

These names are what a plugin imports; each is loaded when it is first touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.adapters.load import restore
    from zoo.data.files import CLASS_NAMES
    from zoo.errors import (
        AuthError,
        DataError,
        IncompatibleError,
        NotFoundError,
        UnreachableError,
        UsageError,
        ZooError,
    )
    from zoo.hub.client import HUB_TIMEOUT, said
    from zoo.models.fingerprint import canonical, has_weights
    from zoo.models.gguf import unpack_gguf
    from zoo.plugins.hookspecs import PLUGIN_API, hookimpl
    from zoo.plugins.method import Method
    from zoo.plugins.params import param
    from zoo.plugins.peft_method import TARGETS, PeftMethod, Targets
    from zoo.plugins.prompt_method import PromptMethod
    from zoo.plugins.run import Run, TrainResult
    from zoo.plugins.source import Kind, Offer, Resolved, Source
    from zoo.plugins.transformer_layers import Layer, layers_of
    from zoo.registry.schema import AdapterRecord, AdapterSpec, BaseId, Cost, DataId, Metric
    from zoo.runtime.console import Report
    from zoo.security.gates import PROCESSOR_FILES
    from zoo.tasks.base import Task
    from zoo.tasks.causal_lm.task import CausalLanguageModelling
    from zoo.tasks.image_text.task import ImageTextRetrieval
    from zoo.tasks.text_classification import TextClassification

__version__ = "0.1.0"

_HOME = {
    "CLASS_NAMES": "zoo.data.files",
    "UsageError": "zoo.errors",
    "Kind": "zoo.plugins.source",
    "canonical": "zoo.models.fingerprint",
    "has_weights": "zoo.models.fingerprint",
    "DataError": "zoo.errors",
    "AuthError": "zoo.errors",
    "AdapterRecord": "zoo.registry.schema",
    "AdapterSpec": "zoo.registry.schema",
    "BaseId": "zoo.registry.schema",
    "CausalLanguageModelling": "zoo.tasks.causal_lm.task",
    "Cost": "zoo.registry.schema",
    "DataId": "zoo.registry.schema",
    "Layer": "zoo.plugins.transformer_layers",
    "layers_of": "zoo.plugins.transformer_layers",
    "Method": "zoo.plugins.method",
    "Metric": "zoo.registry.schema",
    "NotFoundError": "zoo.errors",
    "Offer": "zoo.plugins.source",
    "PLUGIN_API": "zoo.plugins.hookspecs",
    "PROCESSOR_FILES": "zoo.security.gates",
    "PeftMethod": "zoo.plugins.peft_method",
    "PromptMethod": "zoo.plugins.prompt_method",
    "TARGETS": "zoo.plugins.peft_method",
    "Targets": "zoo.plugins.peft_method",
    "ImageTextRetrieval": "zoo.tasks.image_text.task",
    "IncompatibleError": "zoo.errors",
    "param": "zoo.plugins.params",
    "restore": "zoo.adapters.load",
    "Report": "zoo.runtime.console",
    "Resolved": "zoo.plugins.source",
    "Run": "zoo.plugins.run",
    "Source": "zoo.plugins.source",
    "Task": "zoo.tasks.base",
    "TextClassification": "zoo.tasks.text_classification",
    "TrainResult": "zoo.plugins.run",
    "UnreachableError": "zoo.errors",
    "ZooError": "zoo.errors",
    "hookimpl": "zoo.plugins.hookspecs",
    "HUB_TIMEOUT": "zoo.hub.client",
    "said": "zoo.hub.client",
    "unpack_gguf": "zoo.models.gguf",
}

__all__ = [
    "CLASS_NAMES",
    "HUB_TIMEOUT",
    "PLUGIN_API",
    "PROCESSOR_FILES",
    "TARGETS",
    "AdapterRecord",
    "AdapterSpec",
    "AuthError",
    "BaseId",
    "CausalLanguageModelling",
    "Cost",
    "DataError",
    "DataId",
    "ImageTextRetrieval",
    "IncompatibleError",
    "Kind",
    "Layer",
    "Method",
    "Metric",
    "NotFoundError",
    "Offer",
    "PeftMethod",
    "PromptMethod",
    "Report",
    "Resolved",
    "Run",
    "Source",
    "Targets",
    "Task",
    "TextClassification",
    "TrainResult",
    "UnreachableError",
    "UsageError",
    "ZooError",
    "canonical",
    "has_weights",
    "hookimpl",
    "layers_of",
    "param",
    "restore",
    "said",
    "unpack_gguf",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)
