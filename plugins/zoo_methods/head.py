"""Linear probe: the base frozen, only its head trained (Alain & Bengio 2016, arXiv:1610.01644)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import BaseId, Method, Task, hookimpl

if TYPE_CHECKING:
    from torch import nn

FILE = "head.safetensors"


class Head(Method):
    name = "head"
    summary = "linear probe: the base frozen, its head trained"
    paper = "Alain & Bengio 2016, arXiv:1610.01644"
    learning_rate = 5e-3
    format = "head"

    def refuses(self, task: Task, params: Any) -> str | None:
        return None if task.peft_type == "SEQ_CLS" else f"{task.name} has no classification head to train"

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        model.requires_grad_(False)
        for name in head:
            model.get_submodule(name).requires_grad_(True)
        return model

    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        from safetensors.torch import save_file

        trained = {
            name: value.detach().cpu().contiguous()
            for name, value in model.named_parameters()
            if value.requires_grad
        }
        save_file(trained, folder / FILE, metadata={"format": "pt", "base_model": base.id})

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        from safetensors.torch import load_file

        unknown = model.load_state_dict(load_file(folder / FILE), strict=False).unexpected_keys
        if unknown:
            raise ValueError(f"{folder / FILE} holds {unknown[0]}, which the base does not have")
        return model

    def usage(self) -> str:
        return (
            "from safetensors.torch import load_file\n\n"
            f'model.load_state_dict(load_file(f"{{folder}}/{FILE}"), strict=False)'
        )


@hookimpl
def zoo_method() -> Method:
    return Head()
