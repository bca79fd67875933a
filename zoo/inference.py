"""Adapters back from their folders, on their bases again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import options, plugins, sources
from zoo.bases import Bases, options_key
from zoo.errors import IncompatibleError, NotFoundError
from zoo.identity import identify, sha256
from zoo.quiet import quiet_libraries
from zoo.registry import RECORD_FILE, Registry, read_record
from zoo.report import Report
from zoo.specs import AdapterRecord, BaseId

if TYPE_CHECKING:
    from torch import nn

    from zoo.methods import Method
    from zoo.sources import Resolved
    from zoo.tasks import Task

WHOLE = "transformers"
"""The format of a folder that is a whole model by itself: fully fine-tuned, or merged."""
_NOT_OF_A_PROCESSOR = (".safetensors", "adapter_config.json")
"""How the names of files end that a processor, which is loaded from a bare base too, has no use for."""


@dataclass(frozen=True)
class LoadedAdapter:
    record: AdapterRecord
    task: Task
    model: nn.Module
    processor: Any

    def outputs(self, encoded: Sequence[Any], precision: str, report: Report, title: str) -> Any:
        from zoo.evaluation import forward

        budget = self.record.spec.batch_tokens or self.task.batch_tokens
        return forward(
            self.model,
            encoded,
            self.task,
            self.processor,
            budget=budget,
            precision=precision,
            report=report,
            title=title,
        )

    @property
    def max_length(self) -> int:
        return self.record.spec.max_length or self.task.max_length


@dataclass(frozen=True)
class _Checked:
    """An adapter whose files and base are those that its record names."""

    record: AdapterRecord
    method: Method
    task: Task
    params: Any
    folder: Path
    base: Resolved | None
    """None where the folder is a whole model by itself."""
    base_key: Hashable


class Adapters:
    """Adapters to use one after the other: a base or a processor that several have is read once.

    All are checked first, so that the last one's lost file does not come to light after hours.

    Raises:
        NotFoundError: no such adapter, or its files or its base are gone.
        IncompatibleError: the base or a file is not the one that the record names.
    """

    def __init__(self, names: Sequence[str], registry: Registry):
        self._bases = Bases()
        self._identified: dict[str, tuple[Resolved, BaseId]] = {}
        self._processors: dict[Hashable, Any] = {}
        located = {name: registry.locate(name) for name in names}
        self._checked = {name: self._check(record, folder) for name, (record, folder) in located.items()}

    def __iter__(self) -> Iterator[tuple[str, AdapterRecord, Task]]:
        """In the order given, each once."""
        return iter([(name, one.record, one.task) for name, one in self._checked.items()])

    def method(self, name: str) -> Method:
        return self._checked[name].method

    def base(self, name: str) -> Path:
        """The folder of the base's weights: the adapter's own where that is a whole model."""
        one = self._checked[name]
        return one.folder if one.base is None else one.base.folder

    def load(self, name: str, *, quantised: bool = True) -> LoadedAdapter:
        """Be done with an adapter before you load the next one, which may use its memory.

        Args:
            quantised: where the method has its base so; else the base is loaded as it was published.
        """
        one = self._checked[name]
        quiet_libraries()
        if one.base is None:
            model, _ = one.task.load_model(one.folder, one.record.labels)
        elif not quantised:
            model, _ = one.task.load_model(one.base.folder, one.record.labels)
        else:
            base = one.base.folder
            model = self._bases.take(
                one.base_key,
                lambda: one.task.load_model(base, one.record.labels, **one.method.load_options(one.params)),
            )
        if one.record.format != WHOLE:
            model = one.method.restore(model, one.folder, one.params, one.task)
        return LoadedAdapter(one.record, one.task, model.eval(), self._processor(one))

    def _check(self, record: AdapterRecord, folder: Path) -> _Checked:
        method, task = plugins.load_method(record.spec.method), plugins.load_task(record.spec.task)
        params = options.parse(method.Params, record.spec.params, f"method '{method.name}'")
        _check_files(record, folder)
        if record.format == WHOLE:
            return _Checked(record, method, task, params, folder, None, None)
        base, found = self._identify(record.base.location)
        if found.weights != record.base.weights:
            raise IncompatibleError(
                f"'{record.name}' was trained on {record.base.id}, "
                f"and {base.location} now holds other weights.",
                f"zoo show {record.name}",
            )
        key = (
            frozenset(found.weights.items()),
            found.config_sha256,
            task.name,
            tuple(record.labels),
            options_key(method.load_options(params)),
        )
        self._bases.announce(key)
        return _Checked(record, method, task, params, folder, base, key)

    def _identify(self, location: str) -> tuple[Resolved, BaseId]:
        if location not in self._identified:
            base = sources.resolve(location, (), "base", Report())
            self._identified[location] = base, identify(base)
        return self._identified[location]

    def _processor(self, one: _Checked) -> Any:
        files = frozenset(
            (name, file.sha256)
            for name, file in one.record.files.items()
            if not name.endswith(_NOT_OF_A_PROCESSOR)
        )
        key = (one.task.name, files or one.folder)
        if key not in self._processors:
            self._processors[key] = one.task.load_processor(one.folder)
        return self._processors[key]


def load(name: str, registry: Registry) -> LoadedAdapter:
    """An adapter on its base, ready to predict.

    Raises:
        NotFoundError: no such adapter, or its files or its base are gone.
        IncompatibleError: the base or a file is not the one that the record names.
    """
    return Adapters([name], registry).load(name)


def predict(
    loaded: LoadedAdapter, inputs: Sequence[Any], report: Report | None = None
) -> list[dict[str, Any]]:
    """What the adapter says of each input (a text, or a pair of them), in order."""
    return loaded.task.predict(loaded, inputs, report or Report())


def restore(model: nn.Module, folder: str | Path) -> nn.Module:
    """Put the adapter in `folder` onto its base, freshly loaded: for methods that PEFT lacks.

    Raises:
        NotFoundError: the folder has no record, or the plugin of its method is not installed.
        IncompatibleError: the adapter does not fit the model.
    """
    record = read_record(Path(folder) / RECORD_FILE)
    method = plugins.load_method(record.spec.method)
    params = options.parse(method.Params, record.spec.params, f"method '{method.name}'")
    return method.restore(model, Path(folder), params, plugins.load_task(record.spec.task)).eval()


def _check_files(record: AdapterRecord, folder: Path) -> None:
    for name, file in record.files.items():
        path = folder / name
        if not path.is_file():
            raise NotFoundError(f"'{record.name}' has lost its file {path}.", f"zoo rm {record.name}")
        if sha256(path) != file.sha256:
            raise IncompatibleError(f"{path} is not what was saved: its hash differs from {RECORD_FILE}.")
