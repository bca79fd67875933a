"""What goes wrong between a client and the test Hub, on purpose: errors, cut connections, slow answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Cut = Literal["before", "after"]


@dataclass
class Fault:
    """One rule. ``hits`` counts how often it has struck."""

    method: str
    pattern: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    times: int | None = 1
    cut: Cut | None = None
    meanwhile: Callable[[], object] | None = None
    hits: int = 0

    def strikes(self, method: str, path: str) -> bool:
        spent = self.times is not None and self.hits >= self.times
        asked = self.method in ("*", method)
        return asked and not spent and (self.pattern in path or fnmatchcase(path, self.pattern))


class Faults:
    """The rules in force, the oldest first; a rule that is spent leaves the next one its turn."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the rule that strikes this request, and count it."""
        with self._lock:
            for rule in self._rules:
                if rule.strikes(method, path):
                    rule.hits += 1
                    return rule
        return None
