"""Linear probe: the base frozen, only its head trained (Alain & Bengio 2016, arXiv:1610.01644)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo import Method, Task

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1


class Head(Method):
    name = "head"
    summary = "linear probe: the base frozen, its head trained"
    paper = "Alain & Bengio 2016, arXiv:1610.01644"
    learning_rate = 5e-3
    unmergeable = None

    def refuses(self, task: Task, params: Any) -> str | None:
        return None if task.peft_type == "SEQ_CLS" else f"{task.name} has no classification head to train"

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        self.freeze(model, head)
        return model
