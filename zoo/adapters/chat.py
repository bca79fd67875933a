"""Talking to an adapter, and to the base that it sits on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from zoo.adapters import find_base
from zoo.adapters.integrity import task_of
from zoo.adapters.load import load
from zoo.errors import UsageError
from zoo.models.precision import settle
from zoo.registry.store import Registry
from zoo.runtime.console import Report
from zoo.runtime.device import choose_precision
from zoo.tasks.causal_lm.chat_template import prompt_ids
from zoo.tasks.causal_lm.conversations import Message
from zoo.tasks.causal_lm.generation import Sampling, answer, room
from zoo.tasks.causal_lm.task import CausalLanguageModelling

if TYPE_CHECKING:
    from torch import nn


class Chat:
    """One conversation. The adapter can be off for a turn and on for the next: both see all its messages.

    Raises:
        NotFoundError: no such adapter.
        UsageError: its task does not chat.
    """

    def __init__(
        self,
        name: str,
        registry: Registry,
        sampling: Sampling,
        system: str | None = None,
        seed: int = 42,
        base: str | None = None,
        allow_other: bool = False,
        report: Report | None = None,
    ):
        task = task_of(registry.locate(name)[0])
        if not isinstance(task, CausalLanguageModelling):
            raise UsageError(
                f"'{name}' is an adapter for {task.name}, which does not chat.",
                f"zoo predict {name} 'A fine film.'",
            )
        from transformers import set_seed

        self._loaded = load(name, registry, base, allow_other, report)
        self._asked = base
        self._precision = choose_precision(self._loaded.record.precision)
        self._base: nn.Module | None = None
        self._sampling = sampling
        self._opening: list[Message] = [{"role": "system", "content": system}] if system else []
        self.adapted = True
        self.messages: list[Message] = []
        self.reset()
        settle(self._loaded.model.requires_grad_(False).eval(), self._precision)
        set_seed(seed)

    def reset(self) -> None:
        """Forget every message but the system prompt."""
        self.messages = list(self._opening)

    def toggle(self) -> bool:
        """Turn the adapter off, or on again. Returns whether it is on."""
        self.adapted = not self.adapted
        return self.adapted

    def say(self, text: str, on_text: Callable[[str], None] | None = None) -> str:
        """The answer, which the conversation then holds; `on_text` is called with each piece of it.

        Where the base's positions do not hold the conversation, its earliest turns are forgotten.
        """
        self.messages.append({"role": "user", "content": text})
        self._forget()
        model, without = self._speaker()
        with without:
            found = answer(
                model, self._loaded.processor, self.messages, self._sampling, self._precision, on_text
            )
        if found.strip():
            self.messages.append({"role": "assistant", "content": found})
        else:
            self.messages.pop()  # stopped before a word: the question was not answered
        return found

    def _forget(self) -> None:
        most = room(self._loaded.model, self._sampling)
        kept = len(self._opening)
        while len(self.messages) > kept + 1 and len(prompt_ids(self.messages, self._loaded.processor)) > most:
            del self.messages[kept : kept + 2]

    def _speaker(self) -> tuple[nn.Module, AbstractContextManager[Any]]:
        """The model, and what has it answer without its adapter where that is wanted."""
        model = self._loaded.model
        if self.adapted:
            return model, nullcontext()
        if hasattr(model, "disable_adapter"):
            return model, model.disable_adapter()
        if self._base is None:  # a method that cannot step aside: the base once more, beside it
            loaded = self._loaded
            found = loaded.base or find_base.find(loaded.record, self._asked)
            self._base = loaded.task.load_model(found.folder, loaded.record.labels)[0]
            settle(self._base.requires_grad_(False).eval(), self._precision)
        return self._base, nullcontext()
