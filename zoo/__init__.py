"""Train, evaluate, card and keep PEFT adapters; every method, task and source is a plugin.

The public names are listed once, in `__init__.pyi`, where type checkers look for them too. Each is imported
when it is first used, so that `import zoo` loads neither torch nor another module of the zoo.
"""

import functools
import importlib
import re
import sys
import types
import warnings
from pathlib import Path

__version__ = "0.1.0"


@functools.cache
def _modules() -> dict[str, str]:
    """Public name -> the module that defines it; lazy_loader would be a dependency for these five lines."""
    stub = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    return {name: module for module, name in re.findall(r"^from (\S+) import \w+ as (\w+)$", stub, re.M)}


def __getattr__(name: str) -> object:
    if name == "__all__":
        return __dir__()
    if name not in _modules():
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = globals()[name] = getattr(importlib.import_module(_modules()[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(_modules())


class _RenamedModule(types.ModuleType):
    """A module of 0.1.0 under its old name: whoever uses something of it gets a DeprecationWarning."""

    def __init__(self, old: str, new: str, instead: str):
        super().__init__(old)
        self._new, self._instead = new, instead

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # the import system asks for __path__ and the like
            raise AttributeError(name)
        message = f"{self.__name__} is deprecated: use {self._instead}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(self._new), name)


pipeline = sys.modules["zoo.pipeline"] = _RenamedModule("zoo.pipeline", "zoo.training.pipeline", "zoo.train")
