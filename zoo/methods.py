"""How a base is adapted: the interface of a method plugin, and the short way for methods that PEFT has.

A method never sees text or images: it is given a model and says what is trained, what is saved, and how that
is put back. `head` is always the list of modules with no pretrained weights (a classifier, a pooler that the
checkpoint lacks): they are trained whole and saved beside the adapter, because an adapter restored under a
freshly drawn head predicts noise.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IncompatibleError

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

    from zoo.specs import BaseId
    from zoo.tasks import Task


_TARGETS_THAT_PEFT_LACKS = {"distilbert": ["q_lin", "v_lin"]}
"""Query and value projections by model type, where PEFT has no default of its own."""


@dataclasses.dataclass(frozen=True)
class NoParams:
    """For methods without parameters."""


class Method(ABC):
    """Base of a method that PEFT does not have. `attach`, `save` and `restore` are the whole of it."""

    name: str
    summary: str
    """One line for `zoo methods`."""
    paper: str = ""
    Params: type = NoParams
    learning_rate: float = 1e-3
    freezes_base: bool = True
    """Its dropout can then be turned off: noise in a frozen trunk regularises nothing that is trained."""
    needs_base: bool = True
    """False where the saved folder is a whole model by itself."""
    format: str
    """What loads the folder: `peft`, `transformers`, or the method's own name."""

    def refuses(self, task: Task, params: Any) -> str | None:
        """The reason why it cannot work on this task, spoken before anything is downloaded."""
        return None

    def load_options(self, params: Any) -> dict[str, Any]:
        """Keyword arguments for `from_pretrained` of the base (a quantisation config, say)."""
        return {}

    @abstractmethod
    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        """The model to train, with `requires_grad` set on exactly what is trained."""

    @abstractmethod
    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        """Write what was trained, as safetensors, into an existing folder."""

    @abstractmethod
    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        """Put what `save` wrote back onto a freshly loaded base (the whole model if not `needs_base`)."""

    @abstractmethod
    def usage(self) -> str:
        """Python for the card that puts the adapter in `folder` onto `model`, without the zoo."""


class PeftMethod(Method):
    """A method that PEFT has: `config` is all that a plugin writes."""

    format = "peft"

    @abstractmethod
    def config(self, params: Any, task: Task) -> PeftConfig:
        """The PEFT config. `modules_to_save` is filled in by `attach`."""

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        from peft import get_peft_model

        config = self.config(params, task)
        if hasattr(config, "modules_to_save"):
            config.modules_to_save = list(head) or None
        if getattr(config, "target_modules", ()) is None:
            config.target_modules = _TARGETS_THAT_PEFT_LACKS.get(model.config.model_type)
        try:
            return get_peft_model(model, config)
        except (ValueError, KeyError) as error:
            targets = getattr(config, "target_modules", None)
            named = f" (target modules: {', '.join(sorted(targets))})" if targets else ""
            raise IncompatibleError(
                f"{self.name} does not fit this {model.config.model_type}{named}: {_one_line(error)}"
            ) from error

    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        for config in model.peft_config.values():
            config.base_model_name_or_path = base.reference
            config.revision = base.revision
            if getattr(config, "modules_to_save", None):
                # PEFT adds its own guesses to ours, twice over
                config.modules_to_save = list(dict.fromkeys(config.modules_to_save))
            if isinstance(getattr(config, "target_modules", None), set):
                # a set's order changes from run to run, and with it the file's hash
                config.target_modules = sorted(config.target_modules)
        # save_embedding_layers="auto" would ask the Hub for the base's vocabulary; nothing here resizes it
        model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's own card; ours is made from the record

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        from peft import PeftModel

        return PeftModel.from_pretrained(model, str(folder))

    def usage(self) -> str:
        return "from peft import PeftModel\n\nmodel = PeftModel.from_pretrained(model, folder)"


def _one_line(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split())
