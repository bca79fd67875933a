"""Declares the life of an adapter as hooks, in the order in which they are called.

A plugin implements any of them with `@hookimpl` in the module that its entry point names; an entry point that
names a class (`zoo_lora:Lora`) needs no `zoo_method`, `zoo_task` or `zoo_source`. `zoo_train`,
`zoo_evaluate` and `zoo_publish` are `firstresult`: the chosen method's or task's implementation goes before
the core's default, and returning None passes on to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.plugins.method import Method
    from zoo.plugins.run import Evaluation, Run, TrainResult
    from zoo.plugins.source import Source
    from zoo.registry.schema import AdapterRecord, Metric
    from zoo.tasks.base import Task

PLUGIN_API = 1
"""Version of these hooks and of Method, Task and Source. A plugin module declares the one it is made for with
`zoo_api = 1`; it grows when a plugin made for the old one would break."""

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec(firstresult=True)
def zoo_source() -> Source:  # type: ignore[empty-body]
    """The place bases and data come from (entry-point group `zoo.sources`)."""


@hookspec(firstresult=True)
def zoo_task() -> Task:  # type: ignore[empty-body]
    """What is learned, on which data, measured how (entry-point group `zoo.tasks`)."""


@hookspec(firstresult=True)
def zoo_method() -> Method:  # type: ignore[empty-body]
    """How a base is adapted (entry-point group `zoo.methods`)."""


@hookspec(firstresult=True)
def zoo_train(run: Run) -> TrainResult | None:
    """Train `run.model` on `run.train`. The core's default is the HF Trainer (zoo/training/trainer.py)."""


@hookspec(firstresult=True)
def zoo_evaluate(run: Run) -> Evaluation | list[Metric] | None:
    """Evaluate `run.model` on `run.held_out`: in training, `zoo evaluate` and `zoo verify --metrics` alike.

    `run.train` is empty outside of training. A bare list of metrics is an Evaluation without outputs. The
    core's default is zoo/adapters/forward.py.
    """


@hookspec
def zoo_card(record: AdapterRecord) -> str | None:
    """A Markdown section for the model card, added after the core's own sections."""


@hookspec(firstresult=True)
def zoo_publish(record: AdapterRecord, folder: Path, repo: str) -> str | None:
    """Send `folder` to `repo` and say its address; every gate has let it pass. The core's default is the Hub.

    `record` is the one that goes with it, without what belongs to this machine alone.
    """
