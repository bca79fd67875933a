"""An installed plugin against the promises of its kind: what `zoo plugin check` runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import PluginError, UsageError
from zoo.plugins import manager
from zoo.plugins.method import Method
from zoo.plugins.source import Source
from zoo.runtime.checks import CheckResult
from zoo.tasks.base import Task
from zoo.testing.data import reviews, write_conversations, write_csv, write_pictures
from zoo.testing.method_checks import check_method
from zoo.testing.models import save_tiny_model
from zoo.testing.promises import Promises, expect
from zoo.testing.task_checks import check_task

if TYPE_CHECKING:
    from zoo.plugins.manager import Plugin

_KINDS: dict[str, type] = {"method": Method, "task": Task, "source": Source}
_HEAVY = ("torch", "transformers", "peft", "datasets", "pandas", "numpy")
_IMPORT = (
    "import importlib, json, sys; importlib.import_module(sys.argv[1]); "
    "print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))"
)


def check_plugin(
    kind: str,
    name: str,
    *,
    task: str | None = None,
    base: Path | None = None,
    data: Path | None = None,
    params: Mapping[str, Any] | None = None,
) -> list[CheckResult]:
    """Every promise of an installed plugin, kept or not.

    Args:
        task: the one to check a method on; else the first of each kind that the kit has samples for.
        base: a folder and `data`: a file, for a task that the kit has no samples for.
        params: of a method, as `-s` gives them.

    Raises:
        NotFoundError: no plugin, or no task, has that name.
        UsageError: a base and data are needed.
    """
    results = Promises()
    made = None
    with results.promise(f"it imports, declares its plugin API and makes a {kind}"):
        made = _load(kind, name)
    if made is None:
        return results
    with results.promise("importing it loads none of torch, transformers, peft, datasets, pandas, numpy"):
        _check_light(manager.find(kind)[name])
    with tempfile.TemporaryDirectory() as folder:
        samples = partial(_samples, folder=Path(folder), base=base, data=data)
        if isinstance(made, Method):
            tasks: dict[str | None, Task] = {}
            for _, one, _ in manager.load_all("task") if task is None else ():
                if one is not None and (_family(one) or (base and data)):
                    tasks.setdefault(one.peft_type, one)
            for one in tasks.values() if task is None else [manager.load_task(task)]:
                found = check_method(made, one, *samples(one), params)
                results += [result for result in found if result not in results]
        elif isinstance(made, Task):
            results += check_task(made, *samples(made))
    return results


def _load(kind: str, name: str) -> Any:
    try:
        made = manager.load(kind, name)
    except PluginError as error:
        raise PluginError(f"{error} {error.hint or ''}".strip()) from error
    expect(isinstance(made, _KINDS[kind]), f"it makes a {type(made).__name__}")
    return made


def _check_light(plugin: Plugin) -> None:
    """In a process of its own: here they are loaded already. `zoo list` imports every plugin there is."""
    module = plugin.module
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, module, *_HEAVY], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    expect(not loaded, f"{module} loads {', '.join(loaded)}: import them inside functions")


def _family(task: Task) -> str | None:
    """The tiny model that fits a task, by what its models are and its rows have."""
    if task.peft_type is None:
        return "clip" if {"text"} < set(task.columns) else None
    return {"SEQ_CLS": "bert", "CAUSAL_LM": "llama"}.get(task.peft_type)


def _samples(task: Task, folder: Path, base: Path | None, data: Path | None) -> tuple[Path, Path]:
    """A base and data for a task: those given, else a tiny base and small data.

    Raises:
        UsageError: the kit has none for such a task.
    """
    if base and data:
        return base, data
    family = _family(task)
    if family is None:
        raise UsageError(
            f"the kit has no samples for the task '{task.name}' ({task.peft_type}).",
            "--base FOLDER --data FILE",
        )
    return base or save_tiny_model(family, folder / family), data or _rows(task, family, folder)


def _rows(task: Task, family: str, folder: Path) -> Path:
    if family == "llama":
        return write_conversations(folder / "conversations.jsonl")
    if family == "clip":
        return write_pictures(folder / "pictures")
    *texts, label = sorted(task.columns, key=lambda name: name == "label")
    rows = [(*[text] * len(texts), value) for text, value in reviews()]
    return write_csv(folder / "rows.csv", rows, header=",".join([*texts, label]))
