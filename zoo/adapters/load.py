"""Loads adapters from their folders onto their bases."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from zoo.adapters import find_base
from zoo.adapters.compat import check
from zoo.adapters.forward import forward
from zoo.adapters.integrity import WHOLE, check_files, check_head, method_of, task_of
from zoo.errors import IncompatibleError, NotFoundError, ZooError
from zoo.models.fingerprint import identify
from zoo.models.shared_base import Bases, options_key
from zoo.plugins.method import Method, one_line
from zoo.plugins.params import parse
from zoo.plugins.run import RunConfig
from zoo.plugins.source import Resolved
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import RECORD_FILE, Registry, read_record
from zoo.runtime.checks import some
from zoo.runtime.console import Report
from zoo.runtime.logging import quiet_libraries
from zoo.tasks.base import Task

if TYPE_CHECKING:
    from torch import nn


_NOT_OF_A_PROCESSOR = (".safetensors", "adapter_config.json")
"""How the names of files end that a processor, which is loaded from a bare base too, has no use for."""


@dataclass(frozen=True)
class CheckedAdapter:
    """An adapter whose files and base are those that its record names."""

    record: AdapterRecord
    config: RunConfig
    """The record's settings, with today's defaults for those that it does not have."""
    method: Method
    task: Task
    params: Any
    folder: Path
    base: Resolved | None
    """None where the folder is a whole model by itself."""
    base_id: BaseId
    """Which base it really is: with `allow_other` not always the record's."""
    base_key: Hashable

    @property
    def weights(self) -> Path:
        """The folder of the base's weights: the adapter's own where that is a whole model."""
        return self.folder if self.base is None else self.base.folder


@dataclass(frozen=True)
class LoadedAdapter(CheckedAdapter):
    """A checked adapter on its base."""

    model: nn.Module
    processor: Any

    def outputs(self, encoded: Sequence[Any], precision: str, report: Report, title: str) -> Any:
        budget = self.config.batch_tokens
        return forward(self.model, encoded, self.task, self.processor, budget, precision, report, title)

    @property
    def max_length(self) -> int:
        return self.config.max_length


class Adapters:
    """Adapters to use one after the other: a base or a processor that several have is read once.

    All are checked first, so that the last one's lost file does not come to light after hours. Arguments and
    errors are those of `load`.
    """

    def __init__(
        self,
        names: Sequence[str],
        registry: Registry,
        base: str | None = None,
        allow_other: bool = False,
        report: Report | None = None,
    ):
        self._registry, self._asked, self._allow_other = registry, base, allow_other
        self._report = report or Report()
        self._bases = Bases()
        self._identified: dict[str, BaseId] = {}
        self._processors: dict[Hashable, Any] = {}
        located = {name: registry.locate(name) for name in names}
        self._report.say(f"checking the files of {some(list(located))}")
        self._checked = {name: self._check(record, folder) for name, (record, folder) in located.items()}

    def __getitem__(self, name: str) -> CheckedAdapter:
        return self._checked[name]

    def load(self, name: str) -> LoadedAdapter:
        """Be done with an adapter before you load the next one, which may use its memory."""
        return self.put_on(name, *self.bare(name))

    def bare(self, name: str, *, quantised: bool = True) -> tuple[nn.Module, Sequence[str]]:
        """The first half of `load`: the base, and the names of its modules without pretrained weights.

        Args:
            quantised: where the method has its base so; else the base is loaded as it was published.
        """
        one = self._checked[name]
        quiet_libraries(self._report)
        options = one.method.load_options(one.params) if quantised and one.base else {}

        def read() -> tuple[nn.Module, list[str]]:
            self._report.say(f"loading {one.base_id.id}")
            return one.task.load_model(one.weights, one.record.labels, **options)

        return self._bases.take(one.base_key, read) if quantised and one.base else read()

    def put_on(self, name: str, model: nn.Module, head: Sequence[str]) -> LoadedAdapter:
        """The second half of `load`: the adapter on the base that `bare` gave.

        Raises:
            IncompatibleError: it does not fit, or lacks tensors that it needs.
        """
        one = self._checked[name]
        check_head(one.record, one.method, one.folder, model, head)
        if one.record.format != WHOLE:
            try:
                model = one.method.restore(model, one.folder, one.params, one.task)
            except ZooError:
                raise
            except Exception as error:  # peft raises what it likes, with a line for every tensor
                where = one.base.location if one.base else "its base"
                raise IncompatibleError(
                    f"'{one.record.name}' does not load onto {where}: {one_line(error)[:200]}",
                    f"zoo check {one.record.name}",
                ) from error
        return LoadedAdapter(**vars(one), model=model.eval(), processor=self.processor(name))

    def _check(self, record: AdapterRecord, folder: Path) -> CheckedAdapter:
        method, task = method_of(record), task_of(record)
        params = parse(method.Params, record.spec.params, f"method '{method.name}'")
        config = RunConfig.of(record.spec, method, task, name=record.name)
        check_files(record, folder)
        if record.format == WHOLE:
            return CheckedAdapter(record, config, method, task, params, folder, None, record.base, None)
        base = find_base.find(record, self._asked)
        if base.location not in self._identified:
            self._identified[base.location] = identify(base)
        found = self._identified[base.location]
        record = self._check_base(record, folder, base, found)
        key = (
            frozenset(found.weights.items()),
            found.config_sha256,
            task.name,
            tuple(record.labels),
            options_key(method.load_options(params)),
        )
        self._bases.announce(key)
        return CheckedAdapter(record, config, method, task, params, folder, base, found, key)

    def _check_base(
        self, record: AdapterRecord, folder: Path, base: Resolved, found: BaseId
    ) -> AdapterRecord:
        """Is it the adapter's own base? The record comes back, with a note where it is not."""
        same, detail = find_base.compare_weights(record, folder, base.folder, found)
        if same is False:
            what = f"'{record.name}' was trained on {record.base.id}; {base.location} holds other weights"
            what = f"{what}: {detail}." if detail else f"{what}."
            if not self._allow_other:
                raise IncompatibleError(what, "--allow-other-base")
            _check_fits(record, folder, base)
            self._report.warn(f"{what} It is used all the same, and its numbers are not the recorded ones.")
            return _note_other(record, found, self._registry)
        if record.origin is not None or same is None:
            _check_fits(record, folder, base)
        if same is None:
            self._report.warn(
                f"nobody recorded the weights that '{record.name}' was trained on: "
                f"whether {base.location} holds them cannot be checked."
            )
        elif detail:
            self._report.warn(f"{base.location} is the base of '{record.name}' {detail}.")
        elif record.base.config_sha256 not in ("", found.config_sha256):
            self._report.warn(
                f"{base.location} holds the weights that '{record.name}' was trained on, "
                "with another config.",
                f"zoo verify {record.name}",
            )
        return record

    def processor(self, name: str) -> Any:
        """The adapter's own tokenizer or processor; adapters made elsewhere often come without one."""
        one = self._checked[name]
        files = frozenset(
            (name, file.sha256)
            for name, file in one.record.files.items()
            if not name.endswith(_NOT_OF_A_PROCESSOR)
        )
        key = (one.task.name, files or one.folder)
        if key not in self._processors:
            try:
                self._processors[key] = one.task.load_processor(one.folder)
            except NotFoundError:
                if one.base is None:
                    raise
                return one.task.load_processor(one.base.folder)
        return self._processors[key]


def load(
    name: str,
    registry: Registry | None = None,
    base: str | None = None,
    allow_other: bool = False,
    report: Report | None = None,
) -> LoadedAdapter:
    """An adapter on its base, ready to predict; its `model` is a module of torch.

    Args:
        name: of an adapter in the registry, or the folder of one.
        registry: None is the registry that the command line would use.
        base: a reference to the base, as `--base` takes it: the same one; None is where it was at training.
        allow_other: load onto a base with other weights too, if the shapes fit, with a warning; the record
            keeps a note.
        report: hears of facts and warnings; None is told nothing.

    Raises:
        NotFoundError: no such adapter, or its files, its base or its plugins are not installed here.
        IncompatibleError: the base or a file is not the one that the record names.
    """
    return Adapters([name], registry or Registry(), base, allow_other, report).load(name)


def predict(
    adapter: str | LoadedAdapter,
    inputs: Sequence[Any],
    registry: Registry | None = None,
    report: Report | None = None,
) -> list[dict[str, Any]]:
    """What the adapter says of each input, in order.

    A classifier gives `label`, `probability` and `probabilities`, a chat model gives `answer`.

    Args:
        adapter: its name or folder, or what `load` returned: that one is loaded once for many calls.
        inputs: texts, or pairs of texts where the task takes two.
        registry: where the name is looked up; None is the registry that the command line would use.

    Raises:
        UsageError: an input that the task does not take.
        ZooError: what `load` raises.
    """
    loaded = load(adapter, registry, report=report) if isinstance(adapter, str) else adapter
    return loaded.task.predict(loaded, inputs, report or Report())


def restore(model: nn.Module, folder: str | Path) -> nn.Module:
    """Put the adapter in `folder` onto its base, freshly loaded: for methods that PEFT lacks.

    Raises:
        NotFoundError: the folder has no record, or the plugin of its method is not installed.
        IncompatibleError: the adapter does not fit the model.
    """
    record = read_record(Path(folder) / RECORD_FILE)
    method = method_of(record)
    params = parse(method.Params, record.spec.params, f"method '{method.name}'")
    return method.restore(model, Path(folder), params, task_of(record)).eval()


def _check_fits(record: AdapterRecord, folder: Path, base: Resolved) -> None:
    """By names and shapes, before any weight is read.

    Raises:
        IncompatibleError: the adapter has no place there; the message says what does not fit.
    """
    found = check.check(folder, base.folder, record)
    if found.state == check.DOES_NOT_FIT:
        why = "; ".join(found.reasons[:3]).rstrip(".")
        raise IncompatibleError(
            f"'{record.name}' does not fit {base.location}: {why}.",
            f"zoo check {record.name}",
        )


def _note_other(record: AdapterRecord, found: BaseId, registry: Registry) -> AdapterRecord:
    """The record with a warning that names the other base: once for each, in the registry too."""
    digest = next(iter(found.weights.values()), "")[:12]
    flag = f"used on another base than its own: {found.id}, weights sha256 {digest}"
    if flag in record.flags:
        return record
    changed = msgspec.structs.replace(record, flags=[*record.flags, flag])
    if record.name in registry and registry.get(record.name) == record:
        registry.replace(changed)
    return changed
