"""An adapter back from its folder, on its base again: to predict with and to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import options, plugins, sources
from zoo.data import Example
from zoo.dataset import open_dataset, read_examples
from zoo.errors import IncompatibleError, NotFoundError
from zoo.identity import identify, sha256
from zoo.quiet import quiet_libraries
from zoo.registry import RECORD_FILE, Registry
from zoo.report import Report
from zoo.specs import AdapterRecord, Metric

if TYPE_CHECKING:
    from torch import nn

    from zoo.tasks import Task


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

    def encode(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        return self.task.encode(examples, self.processor, self.record.spec.max_length or self.task.max_length)


@dataclass(frozen=True)
class Evaluation:
    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    flags: list[str]


def load(name: str, registry: Registry) -> LoadedAdapter:
    """An adapter on its base, ready to predict.

    Raises:
        NotFoundError: no such adapter, or its files or its base are gone.
        IncompatibleError: the base or a file is not the one that the record names.
    """
    record = registry.get(name)
    method, task = plugins.load_method(record.spec.method), plugins.load_task(record.spec.task)
    params = options.parse(method.Params, record.spec.params, f"method '{method.name}'")
    folder = registry.adapter_folder(name)
    _check_files(record, folder)
    quiet_libraries()
    if method.needs_base:
        base = sources.resolve(record.base.location, (), "base", Report())
        found = identify(base)
        if found.weights != record.base.weights:
            raise IncompatibleError(
                f"'{name}' was trained on {record.base.id}, and {base.location} now holds other weights.",
                f"zoo show {name}",
            )
        model, _ = task.load_model(base.folder, record.labels, **method.load_options(params))
    else:
        model, _ = task.load_model(folder, record.labels)
    model = method.restore(model, folder, params, task)
    return LoadedAdapter(record, task, model.eval(), task.load_processor(folder))


def predict(
    loaded: LoadedAdapter, texts: Sequence[str], report: Report | None = None
) -> list[dict[str, Any]]:
    """What the adapter says of each text, in order, in fp32: the numbers that plain peft gives."""
    encoded = loaded.encode([loaded.task.example(text) for text in texts])
    outputs = loaded.outputs(encoded, "fp32", report or Report(), "predicting")
    return loaded.task.predictions(outputs, loaded.record.labels)


def evaluate(
    loaded: LoadedAdapter,
    report: Report | None = None,
    *,
    data: str | None = None,
    columns: dict[str, str] | None = None,
    precision: str | None = None,
) -> Evaluation:
    """Measure on the adapter's own held-out rows, or on every row of other data.

    Raises:
        IncompatibleError: the adapter's own data has changed since, so it may have seen the held-out rows.
        DataError: other data with labels that the adapter does not know.
    """
    from zoo.hardware import choose_precision
    from zoo.metrics import doubts

    report = report or Report()
    record, task = loaded.record, loaded.task
    if data is None:
        found = sources.resolve(record.data.location, (), "data", Report())
        dataset = open_dataset(task, found, record.spec, report)
        if dataset.id.fingerprint != record.data.fingerprint:
            raise IncompatibleError(
                f"{record.data.location} has changed since '{record.name}' was trained: "
                "it may have seen the held-out rows.",
                f"zoo evaluate {record.name} --data FILE",
            )
        rows, known = dataset.held_out, dataset.train
    else:
        found = sources.resolve(data, (), "data", report)
        splits, names = read_examples(task, found, columns or {}, report)
        task.relabel(splits, names, record.labels)
        rows = known = [row for split in splits.values() for row in split]
    encoded = loaded.encode(rows)
    outputs = loaded.outputs(
        encoded, choose_precision(precision or record.training.precision), report, "evaluating"
    )
    metrics = task.measure(outputs, encoded, record.labels)
    truth = [{"labels": row["label"]} for row in known]
    baselines = task.baselines(truth, encoded, record.labels)
    return Evaluation(
        metrics, baselines, doubts(metrics, baselines, task.baseline_words(truth, record.labels))
    )


def _check_files(record: AdapterRecord, folder: Path) -> None:
    for name, file in record.files.items():
        path = folder / name
        if not path.is_file():
            raise NotFoundError(f"'{record.name}' has lost its file {path}.", f"zoo rm {record.name}")
        if sha256(path) != file.sha256:
            raise IncompatibleError(f"{path} is not what was saved: its hash differs from {RECORD_FILE}.")
