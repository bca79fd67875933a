"""A spec with its plugins loaded, its parameters typed and every default filled in."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from zoo.errors import IncompatibleError, UsageError
from zoo.plugins import manager
from zoo.plugins.params import parse
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry, check_name

if TYPE_CHECKING:
    from zoo.plugins.method import Method
    from zoo.tasks.base import Task


_POSITIVE = (
    "--limit",
    "--eval-limit",
    "--epochs",
    "--lr",
    "--batch-tokens",
    "--gradient-accumulation",
    "--max-length",
)
"""Settings that are numbers above 0, by their flag."""
_SWITCHES = ("--packing", "--gradient-checkpointing", "--compile")


@dataclass(frozen=True)
class Plan:
    spec: AdapterSpec
    method: Method
    task: Task
    params: Any
    method_plugin: manager.Plugin
    task_plugin: manager.Plugin

    @property
    def name(self) -> str:
        assert self.spec.name is not None, "plan() fills it in"
        return self.spec.name


def plan(spec: AdapterSpec) -> Plan:
    """
    Raises:
        NotFoundError: no such method or task.
        OptionError: a parameter that the method does not have, or of the wrong type.
        UsageError: a setting out of range.
        IncompatibleError: the method refuses the task.
    """
    method, task = manager.load_method(spec.method), manager.load_task(spec.task)
    params = parse(method.Params, spec.params, f"method '{method.name}'")
    _check_settings(spec, task)
    if spec.packing:
        _check_packing(method, task, params)
    refusal = method.refuses(task, params)
    if refusal:
        raise IncompatibleError(f"{method.name} does not work for {task.name}: {refusal}.", "zoo methods")
    filled = msgspec.structs.replace(
        spec,
        name=check_name(f"{method.name}-{task.name}" if spec.name is None else spec.name),
        params=msgspec.to_builtins(asdict(params)),
        epochs=task.epochs if spec.epochs is None else spec.epochs,
        learning_rate=method.learning_rate if spec.learning_rate is None else spec.learning_rate,
        batch_tokens=task.batch_tokens if spec.batch_tokens is None else spec.batch_tokens,
        max_length=task.max_length if spec.max_length is None else spec.max_length,
        eval_limit=task.eval_limit if spec.eval_limit is None else spec.eval_limit,
    )
    return Plan(
        filled, method, task, params, manager.find("method")[method.name], manager.find("task")[task.name]
    )


def with_free_name(spec: AdapterSpec, registry: Registry) -> AdapterSpec:
    """A name that was not asked for is numbered rather than refused."""
    if spec.name is not None:
        return spec
    return msgspec.structs.replace(spec, name=registry.free_name(f"{spec.method}-{spec.task}"))


def command(spec: AdapterSpec) -> str:
    """The command that makes this adapter again, every setting spelled out."""
    words = ["zoo", "train", spec.method, spec.task, "--base", str(spec.base), "--data", str(spec.data)]
    for flag in (*_POSITIVE, "--seed", "--precision", "--base-dropout"):
        value = getattr(spec, _field(flag))
        if value is not None:
            words += [flag, str(value)]
    words += [flag for flag in _SWITCHES if getattr(spec, _field(flag))]
    for flag, text in (("--split", spec.split), ("--eval-data", spec.eval_data)):
        words += [flag, text] if text is not None else []
    for column, name in sorted(spec.columns.items()):
        words += ["--column", f"{column}={name}"]
    for key, value in sorted(spec.params.items()):
        if value is not None:
            words += ["-s", f"{key}={','.join(map(str, value)) if isinstance(value, list) else value}"]
    return shlex.join(words)


def _field(flag: str) -> str:
    return "learning_rate" if flag == "--lr" else flag.removeprefix("--").replace("-", "_")


def _check_packing(method: Method, task: Task, params: Any) -> None:
    from zoo.tasks.base import Task as Base

    if type(task).pack is Base.pack:
        raise UsageError(f"{task.name} does not pack its examples.", "leave out --packing")
    if method.virtual_tokens(params):
        raise UsageError(
            f"{method.name} puts its virtual tokens before a row, so only the first of several "
            "conversations in it would see them.",
            "leave out --packing",
        )


def _check_settings(spec: AdapterSpec, task: Task) -> None:
    for flag in _POSITIVE:
        value = getattr(spec, _field(flag))
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{flag} must be greater than 0, got {value:g}.")
    if not 0 <= spec.seed < 2**32:
        raise UsageError(f"--seed is a whole number from 0 to {2**32 - 1}, got {spec.seed}.")
    if spec.base_dropout not in ("off", "keep"):
        raise UsageError(f"--base-dropout is off or keep, got '{spec.base_dropout}'.")
