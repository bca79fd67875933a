"""Defines how a base is adapted: the interface of a method plugin.

A method never sees text or images: it is given a model and says what is trained. `attach` alone makes a
method: what was trained is saved and put back by name, unless the method knows better. `head` is always the
list of modules without pretrained weights (a classifier, a pooler that the checkpoint lacks): they are
trained whole and saved beside the adapter, because an adapter under a freshly drawn head predicts noise.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IncompatibleError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zoo.registry.schema import BaseId
    from zoo.tasks.base import Task

ADAPTER_FILE = "adapter.safetensors"
"""Where a method that does not say otherwise saves what it trained."""


@dataclasses.dataclass(frozen=True)
class NoParams:
    """For methods without parameters."""


class Method(ABC):
    """Base of a method plugin. Methods are in the order in which a run calls them."""

    name: str
    summary: str
    """One line for `zoo methods`."""
    paper: str = ""
    Params: type = NoParams
    """A frozen dataclass; `zoo.param` gives a field its default, its range and its explanation."""
    learning_rate: float = 1e-3
    freezes_base: bool = True
    """Its dropout can then be turned off: noise in a frozen backbone regularises nothing that is trained."""
    needs_base: bool = True
    """False where the saved folder is a whole model by itself."""
    format: str = "zoo"
    """What loads the folder: `peft`, `transformers`, or `zoo` (`zoo.restore(model, folder)`)."""
    requires: Mapping[str, str] = {}
    """Module that must be installed -> the command that installs it."""
    unmergeable: str | None = "it does not say how"
    """Why it cannot become part of the base's own weights; None where `merge` does that."""

    def recognise(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """The parameters that an imported adapter_config.json holds; None if it is of another method."""
        return None

    def check_installed(self) -> None:
        """Raises IncompatibleError: a module of `requires` is not installed."""
        for module, install in self.requires.items():
            if find_spec(module) is None:
                raise IncompatibleError(f"{self.name} needs {module}, which is not installed.", install)

    def refuses(self, task: Task, params: Any) -> str | None:
        """The reason why it cannot work on this task, reported before anything is downloaded."""
        return None

    def virtual_tokens(self, params: Any) -> int:
        """Positions of the base that the method takes for itself; texts are cut to what is left."""
        return 0

    def load_options(self, params: Any) -> dict[str, Any]:
        """Keyword arguments for `from_pretrained` of the base (a quantisation config, say)."""
        return {}

    @abstractmethod
    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        """The model to train, with `requires_grad` set on exactly what is trained.

        It is called with a model without weights too (on the meta device), to count what would be trained
        and to refuse what cannot work before anything large is fetched.

        Raises:
            IncompatibleError: the method does not fit this model.
        """

    @staticmethod
    def freeze(model: nn.Module, head: Sequence[str]) -> None:
        """Train nothing of the model but its head: what most `attach` begin with."""
        model.requires_grad_(False)
        for name in head:
            model.get_submodule(name).requires_grad_(True)

    def training_starts(self, model: nn.Module, steps: int) -> None:
        """Before the first of `steps` steps of the optimizer: for a method with a schedule of its own."""
        return

    def penalty(self, model: nn.Module) -> Tensor | None:
        """A term for the loss of every step, where the method has one."""
        return None

    def after_step(self, model: nn.Module, step: int) -> None:
        """After step number `step` (from 1) of the optimizer, while the gradients are still there."""
        return

    def schedule(self, model: nn.Module) -> dict[str, Tensor]:
        """What `after_step` remembers from step to step, for a checkpoint."""
        return {}

    def resume_schedule(self, model: nn.Module, kept: dict[str, Tensor]) -> None:
        """Continue from what `schedule` returned, after `training_starts`."""
        return

    def optimizer(self, device_type: str) -> str:
        """The Trainer's name of the optimizer, for `cpu` or `cuda`."""
        return "adamw_torch_fused"

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """What `save` writes: the trained parameters by name."""
        return {name: value for name, value in model.named_parameters() if value.requires_grad}

    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        """Write what was trained, as safetensors, into an existing folder."""
        from safetensors.torch import save_file

        trained = {name: value.detach().cpu().contiguous() for name, value in self.state(model).items()}
        # of several entries safetensors draws the order, and so the hash of the file
        save_file(trained, folder / ADAPTER_FILE, metadata={"format": "pt"})

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        """Put what `save` wrote back onto a freshly loaded base (the whole model if not `needs_base`).

        Raises:
            IncompatibleError: a saved tensor has no place in the model, or another shape there.
        """
        from safetensors.torch import load_file

        model = self.attach(model, params, task, ())
        try:
            unknown = model.load_state_dict(load_file(folder / ADAPTER_FILE), strict=False).unexpected_keys
        except RuntimeError as error:
            raise IncompatibleError(f"{folder / ADAPTER_FILE} does not fit: {one_line(error)}") from error
        if unknown:
            raise IncompatibleError(
                f"{folder / ADAPTER_FILE} holds {unknown[0]}, which the base does not have."
            )
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        """The restored model with the adapter in its own weights: what the base's class alone can load.

        Raises:
            IncompatibleError: the method cannot.
        """
        if self.unmergeable is not None:
            raise IncompatibleError(f"{self.name} does not merge: {self.unmergeable}.")
        return model  # what was trained is the model's own

    def usage(self) -> str:
        """Python for the card that puts the adapter in `folder` onto `model`."""
        return "from zoo import restore\n\nmodel = restore(model, folder)"


def one_line(error: BaseException) -> str:
    # one argument is the message, which a KeyError would print in quotes; an OSError has two
    return " ".join(str(error.args[0] if len(error.args) == 1 else error).split())
