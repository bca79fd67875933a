"""Full fine-tuning: every weight is trained. The yardstick that adapters are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import BaseId, Method, Task

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class Full(Method):
    name = "full"
    summary = "every weight of the base is trained"
    paper = "Devlin et al. 2018, arXiv:1810.04805"
    learning_rate = 5e-5
    freezes_base = False
    needs_base = False
    format = "transformers"
    unmergeable = None

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        return model.requires_grad_(True)

    def save(self, model: nn.Module, folder: Path, base: BaseId) -> None:
        model.save_pretrained(str(folder))

    def restore(self, model: nn.Module, folder: Path, params: Any, task: Task) -> nn.Module:
        return model  # loaded from the folder itself

    def usage(self) -> str:
        return ""
