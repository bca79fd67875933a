"""The short way for a method that PEFT has: a plugin writes the config, and this does the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.errors import IncompatibleError
from zoo.methods import Method, one_line
from zoo.options import param

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import Tensor, nn

    from zoo.specs import BaseId
    from zoo.tasks import Task

ALL_LINEAR = "all-linear"
Targets = tuple[str, ...] | None
TARGETS: Targets = param(
    None, f"modules to adapt, or {ALL_LINEAR}; none: the task's, or the usual ones of the model type"
)
"""The parameter that most methods of PEFT share: `targets: Targets = TARGETS`."""
_TARGETS_THAT_PEFT_LACKS = {
    "clip": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "distilbert": ["q_lin", "v_lin"],
}
"""By model type, where PEFT has no default of its own."""


class PeftMethod(Method):
    """A method that PEFT has: `config` is all that a plugin writes."""

    format = "peft"
    unmergeable: str | None = None
    default_targets: ClassVar[dict[str, list[str]]] = _TARGETS_THAT_PEFT_LACKS
    """Modules to adapt, by model type, where PEFT has no default for the method."""
    bounded_rank: bool = True
    """A rank above the smaller side of a matrix is refused: the update could not have it."""

    @abstractmethod
    def config(self, params: Any, task: Task) -> PeftConfig:
        """The PEFT config. `modules_to_save` is filled in by `attach`."""

    @staticmethod
    def targets(params: Any, task: Task) -> list[str] | None:
        """What the person asked for, else what the task knows; None leaves it to the model type."""
        asked = params.targets or task.targets
        return list(asked) if asked else None

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        from peft import get_peft_model

        config = self.config(params, task)
        if hasattr(config, "modules_to_save"):
            config.modules_to_save = list(head) or None
        if hasattr(config, "target_modules"):
            self._settle_targets(config, model)
        try:
            adapted = get_peft_model(model, config)
        except (ValueError, KeyError, NotImplementedError) as error:
            raise self._does_not_fit(model, one_line(error)) from error
        if self.bounded_rank and isinstance(getattr(config, "r", None), int):
            self._check_rank(adapted, config.r)
        return adapted

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        from peft import get_peft_model_state_dict

        found: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
        return found

    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        for config in model.peft_config.values():
            config.base_model_name_or_path = base.reference
            config.revision = base.revision
            for name in ("modules_to_save", "target_modules", "feedforward_modules"):
                value = getattr(config, name, None)
                if isinstance(value, set | list):
                    # a set's order changes from run to run, and with it the file's hash; to the modules to
                    # save PEFT adds its own guesses, twice over
                    unique = dict.fromkeys(sorted(value) if isinstance(value, set) else value)
                    setattr(config, name, list(unique))
        # save_embedding_layers="auto" would ask the Hub for the base's vocabulary; nothing here resizes it
        model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's own card; ours is made from the record

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        from peft import PeftModel

        return PeftModel.from_pretrained(model, str(folder))

    def merge(self, model: nn.Module) -> nn.Module:
        if self.unmergeable:
            return super().merge(model)
        merged: nn.Module = model.merge_and_unload(safe_merge=True)
        return merged

    def usage(self) -> str:
        return "from peft import PeftModel\n\nmodel = PeftModel.from_pretrained(model, folder)"

    def _settle_targets(self, config: Any, model: nn.Module) -> None:
        """Names that exist: PEFT takes a list of which some match for the whole list."""
        if config.target_modules is None:
            config.target_modules = self.default_targets.get(model.config.model_type)
        named: Any = config.target_modules
        if named is None or isinstance(named, str):
            return
        if list(named) == [ALL_LINEAR]:
            config.target_modules = ALL_LINEAR
            return
        names = [name for name, _ in model.named_modules()]
        lost = [one for one in named if not any(name == one or name.endswith(f".{one}") for name in names)]
        if lost:
            has = ", ".join(matrices(model))
            raise self._does_not_fit(model, f"no module is called {', '.join(sorted(lost))}; it has {has}")

    def _check_rank(self, adapted: nn.Module, rank: int) -> None:
        inner = adapted.base_model.model
        for name in getattr(adapted.base_model, "targeted_module_names", ()):
            layer = inner.get_submodule(name)
            sides = [getattr(layer, side, None) for side in ("in_features", "out_features")]
            most = min((side for side in sides if isinstance(side, int)), default=rank)
            if rank > most:
                raise IncompatibleError(
                    f"{self.name}: rank {rank} is above the {most} of the matrix {name}.", f"-s r={most}"
                )

    def _does_not_fit(self, model: nn.Module, reason: str) -> IncompatibleError:
        return IncompatibleError(
            f"{self.name} does not fit this {model.config.model_type}: {reason.rstrip('.')}.",
            f"zoo methods {self.name}",
        )


class PromptMethod(PeftMethod):
    """Trained vectors before the text. Params has `num_virtual_tokens`."""

    unmergeable = "its prompts are inputs, not weights of the base"

    def refuses(self, task: Task, params: Any) -> str | None:
        if task.peft_type in ("SEQ_CLS", "CAUSAL_LM"):
            return None
        return f"its prompts go before the text of one language model, and {task.name} has none"

    def virtual_tokens(self, params: Any) -> int:
        return int(params.num_virtual_tokens)


def matrices(model: nn.Module) -> list[str]:
    """Last parts of the names of the model's linear layers, each once, in order."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    linear = (name for name, one in model.named_modules() if isinstance(one, (nn.Linear, Conv1D)))
    return list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
