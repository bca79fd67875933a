"""Prepares a run: every setting resolved and every refusal made before a weight is read or fetched."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from zoo.adapters.compat.base_shapes import layer_of, read_base
from zoo.data.dataset import Dataset, check_roles, open_dataset
from zoo.errors import IncompatibleError, NotFoundError, UsageError, ZooError
from zoo.models.families import family
from zoo.models.fingerprint import read_config
from zoo.plugins import manager, source
from zoo.plugins.method import Method
from zoo.plugins.params import parse
from zoo.plugins.run import RunConfig
from zoo.plugins.source import Resolved
from zoo.registry.names import check_name
from zoo.registry.schema import AdapterSpec
from zoo.registry.store import Registry
from zoo.runtime.console import Report
from zoo.runtime.device import PRECISIONS, choose_precision, thread_count, use_kernels
from zoo.runtime.logging import quiet_libraries
from zoo.tasks.base import Task
from zoo.training import portable, runs
from zoo.training.checkpoints import KEPT
from zoo.training.inputs import setting_differences
from zoo.training.memory_estimate import Memory, estimate
from zoo.training.parameter_counts import Count, attach_without_weights, count

if TYPE_CHECKING:
    from torch import nn

_POSITIVE = (
    "--limit",
    "--eval-limit",
    "--epochs",
    "--lr",
    "--batch-tokens",
    "--gradient-accumulation",
    "--max-length",
    "--threads",
)
"""Settings that are numbers above 0, by their flag."""
_SWITCHES = ("--packing", "--gradient-checkpointing", "--compile", "--portable")
_CHECKPOINT, _SAVED = 12, 4
"""Bytes of a trained parameter: with the two moments of the optimizer, and in the adapter."""
_SHORTEST_TEXT = 8
"""Tokens that a text needs at least."""
_RANKS = ("init_r", "r")
"""Names of the rank among the parameters of methods."""


@dataclass(frozen=True)
class Prepared:
    """A run that passed every check that needs no weights."""

    config: RunConfig
    method: Method
    task: Task
    params: Any
    base: Resolved
    data: Resolved | None
    dataset: Dataset | None
    """None where a dry run does not download the rows."""
    missing_data: NotFoundError | None
    """Why a dry run has no data: the run itself is refused with it."""
    processor: Any
    """None in a dry run."""
    model: nn.Module
    """With the adapter attached, on the meta device: shapes without weights."""
    precision: str
    """`bf16` or `fp32`."""
    resumed: runs.Run | None
    """The stopped run that this one goes on with."""

    @property
    def labels(self) -> list[str]:
        return list(self.task.labels) if self.dataset is None else self.dataset.labels

    @cached_property
    def count(self) -> Count:
        return count(self.model)

    @cached_property
    def adapter_bytes(self) -> int:
        """Of the tensors that will be saved."""
        return sum(value.numel() * value.element_size() for value in self.method.state(self.model).values())

    def memory(self) -> Memory:
        """An estimate of the peak memory. It changes the dtypes of `model`."""
        return estimate(
            self.model,
            self.task,
            tokens=self.config.batch_tokens,
            length=self.config.max_length,
            precision=self.precision,
            load_options=self.method.load_options(self.params),
            checkpointing=self.config.gradient_checkpointing,
        )


def prepare(
    spec: AdapterSpec,
    registry: Registry,
    report: Report,
    *,
    resume: bool = False,
    fresh: bool = False,
    run: runs.Run | None = None,
    fetch: bool = True,
) -> Prepared:
    """Resolve everything about a run: first what needs no torch, then what needs no weights, then these.

    Args:
        resume: go on with the stopped run of that name; it must be there.
        fresh: start anew where a run of the same command could be gone on with.
        run: go on with this one.
        fetch: False is a dry run: neither weights nor rows are downloaded.

    Raises:
        NotFoundError: no such plugin, base, data or checkpoint.
        UsageError: a setting out of range, a name that is taken, rows that cannot be trained on.
        IncompatibleError: method, task and base do not go together.
    """
    if spec.portable:
        portable.choose_kernels(spec)
    method, task = manager.load_pair(spec.method, spec.task)
    method.check_installed()
    params = parse(method.Params, spec.params, f"method '{method.name}'", f"zoo methods {method.name}")
    _check_settings(spec, method, task, params)
    config = RunConfig.of(spec, method, task, params=msgspec.to_builtins(asdict(params)))
    check_name(config.name)
    resumed = run or (None if fresh else runs.to_go_on_with(registry, spec, config.name, resume=resume))
    if resumed is not None:
        if resumed.state.inputs.device == "cpu":
            use_kernels(resumed.state.inputs.kernels)
        config = msgspec.structs.replace(config, name=resumed.name)
    else:
        config = msgspec.structs.replace(config, name=_new_name(spec, config, registry, fresh))
    registry.check_writable()
    report.say(f"preparing '{config.name}': {method.name} on {task.name}")
    data, missing = _find_data(spec, task, fetch)
    base = source.resolve(spec.base, task.bases, "base", Report(), weights=False)
    if base.location.startswith("path:"):
        source.resolve(base.location, task.bases, "base", Report())  # its weights must be there
    _check_base(base, method, task, params, config)
    dataset = None
    if data is not None and data.path is not None:
        data, dataset = _read(config, task, report)

    quiet_libraries(report)
    if spec.portable:
        portable.check_kernels()
    precision = "fp32" if spec.portable else choose_precision(spec.precision)
    labels = dataset.labels if dataset else task.labels or ("0", "1")
    model = attach_without_weights(method, params, task, base.folder, labels)
    length = fitting_length(method, params, task, model.config.get_text_config(), config.max_length)
    base = source.resolve(spec.base, task.bases, "base", report, weights=fetch)
    processor = task.load_processor(base.folder) if fetch else None
    if dataset is None and fetch:
        data, dataset = _read(config, task, report)
    elif dataset is None and data is not None:
        data = source.resolve(spec.data, task.data, "data", report, weights=False)
    config = msgspec.structs.replace(
        config,
        base=base.location,
        data=data.location if data else None,
        eval_data=dataset.id.eval_location if dataset else spec.eval_data,
        max_length=length,
        threads=spec.threads
        or (resumed.state.inputs.threads if resumed else 1 if spec.portable else thread_count()),
    )
    prepared = Prepared(
        config, method, task, params, base, data, dataset, missing, processor, model, precision, resumed
    )
    _check_space(prepared, registry.folder)
    return prepared


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


def _new_name(spec: AdapterSpec, config: RunConfig, registry: Registry, fresh: bool) -> str:
    """The name of an adapter that is to be trained from the start. One that nobody asked for is numbered."""
    gone = {run.id for run in runs.stopped(registry, spec, config.name)} if fresh else set()
    every = [run for run in runs.all_runs(registry) if run.reserves_name and run.id not in gone]
    free = registry.free_name(config.name, {run.name for run in every})
    if spec.name is None:
        return free
    name = config.name
    if name in registry:
        raise UsageError(f"an adapter is already called '{name}'.", f"--name {free}")
    if registry.adapter_folder(name).exists():
        raise UsageError(
            f"{registry.adapter_folder(name)} exists but is not registered.",
            "zoo registry rebuild",
        )
    for run in every:
        if run.name == name and run.alive:
            raise UsageError(
                f"'{name}' is being trained, by process {run.state.pid} of {run.state.host}.",
                f"--name {free}",
            )
        if run.name == name:
            changed = ", ".join(setting_differences(run.state.asked, spec)) or "another base or other data"
            raise UsageError(f"the interrupted run of '{name}' had other settings: {changed}.", "--fresh")
    return name


def _check_space(prepared: Prepared, folder: Path) -> None:
    """For the checkpoints that are kept, the one that is being written, and the adapter."""
    needed = ((KEPT + 1) * _CHECKPOINT + _SAVED) * prepared.count.trainable
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ZooError(
            f"checkpoints and the adapter take {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free.",
            "--registry FOLDER",
        )


def _find_data(spec: AdapterSpec, task: Task, fetch: bool) -> tuple[Resolved | None, NotFoundError | None]:
    """The data, not yet read; for a dry run of a task whose default data is not available, why it is not."""
    check_roles(task, spec.columns)
    try:
        data = source.resolve(spec.data, task.data, "data", Report(), weights=False)
    except NotFoundError as error:
        if fetch or spec.data is not None:
            raise
        return None, error
    if spec.eval_data is not None:
        source.resolve(spec.eval_data, (), "data", Report(), weights=False)
    return data, None


def _read(config: RunConfig, task: Task, report: Report) -> tuple[Resolved, Dataset]:
    data = source.resolve(config.data, task.data, "data", report)
    eval_data = source.resolve_eval_data(config.eval_data, report)
    return data, open_dataset(task, data, config, report, eval_data)


def _check_base(base: Resolved, method: Method, task: Task, params: Any, config: RunConfig) -> None:
    """Check the base against the task and the settings, by its configs and its weights' headers."""
    told = read_config(base.folder)
    refusal = task.refuses_base(base.folder, told)
    if refusal:
        raise IncompatibleError(f"'{base.id}' {refusal}.", source.nearest(task.bases, "base"))
    inner = told.get("text_config")
    text = inner if isinstance(inner, dict) else told
    positions = text.get("max_position_embeddings", text.get("n_positions"))
    if isinstance(positions, int):
        known = SimpleNamespace(model_type=str(text.get("model_type")), max_position_embeddings=positions)
        fitting_length(method, params, task, known, config.max_length)
    _check_rank(base, method, task, params)


def _check_rank(base: Resolved, method: Method, task: Task, params: Any) -> None:
    """Refuse a rank above every matrix that may be adapted; `attach` compares it with those that are."""
    name = next((one for one in _RANKS if isinstance(getattr(params, one, None), int)), None)
    if name is None or not getattr(method, "bounded_rank", False):
        return
    try:
        modules = read_base(base.folder).modules
    except IncompatibleError:  # damaged weights: loading reports them
        return
    sides = {
        module: min(own["weight"])
        for module, own in modules.items()
        if layer_of(module) is not None and len(own.get("weight", ())) == 2
    }
    targets = getattr(params, "targets", None) or task.targets or ()
    named = {module: side for module, side in sides.items() if module.rpartition(".")[2] in targets}
    sides = named or sides
    rank = getattr(params, name)
    if sides and rank > max(sides.values()):
        module, side = max(sides.items(), key=lambda one: one[1])
        raise IncompatibleError(
            f"{method.name}: rank {rank} is above the {side} of the matrix {module}.", f"-s {name}={side}"
        )


def _check_packing(method: Method, task: Task, params: Any) -> None:
    if type(task).pack is Task.pack:
        raise UsageError(f"{task.name} does not pack its examples.", "without --packing")
    if method.virtual_tokens(params):
        raise UsageError(
            f"{method.name} puts its virtual tokens before a row, so only the first of several "
            "conversations in it would see them.",
            "without --packing",
        )


def _check_settings(spec: AdapterSpec, method: Method, task: Task, params: Any) -> None:
    for flag in _POSITIVE:
        value = getattr(spec, _field(flag))
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{flag} must be greater than 0, got {value:g}.", f"without {flag}")
    if not 0 <= spec.seed < 2**32:
        raise UsageError(
            f"--seed is a whole number from 0 to {2**32 - 1}, got {spec.seed}.", "without --seed"
        )
    if spec.base_dropout not in ("off", "keep"):
        raise UsageError(
            f"--base-dropout is off or keep, got '{spec.base_dropout}'.", "without --base-dropout"
        )
    if spec.precision not in PRECISIONS:
        choose_precision(spec.precision)  # raises; that of the others may need torch
    if spec.packing:
        _check_packing(method, task, params)
    refusal = method.refuses(task, params)
    if refusal:
        raise IncompatibleError(f"{method.name} does not work for {task.name}: {refusal}.", "zoo methods")
    if spec.portable:
        portable.check_method(method, params)


def fitting_length(method: Method, params: Any, task: Task, config: Any, asked: int) -> int:
    """Tokens of a text: `asked`, or what fits into the base's positions if that is less.

    Args:
        config: of the base's language model, with `model_type` and `max_position_embeddings`.

    Raises:
        UsageError: more was asked for than fits, or nothing fits.
    """
    most = getattr(config, "max_position_embeddings", None)
    if most is None:
        return asked
    most -= family(config.model_type).reserved_positions
    taken = method.virtual_tokens(params)
    if most - taken < _SHORTEST_TEXT:
        raise UsageError(
            f"{method.name}: {taken} virtual tokens leave no room for a text "
            f"in the {most} positions of the base.",
            f"-s num_virtual_tokens={min(20, most // 4)}",
        )
    if asked > most - taken and asked != task.max_length:
        beside = f" beside {taken} virtual tokens" if taken else ""
        raise UsageError(
            f"--max-length {asked} is more than the {most - taken} positions of the base{beside}.",
            f"--max-length {most - taken}",
        )
    return int(min(asked, most - taken))
