"""Defines the interface of a task plugin: what is learned, on which data, and how it is measured."""

from __future__ import annotations

import shlex
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.columns import recognise
from zoo.data.files import Example, columns_of
from zoo.errors import DataError, UsageError
from zoo.models.loading import check_missing, load_config, load_weights
from zoo.plugins import source
from zoo.runtime.suggest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor, nn

    from zoo.adapters.load import LoadedAdapter
    from zoo.plugins.run import Run
    from zoo.plugins.source import Resolved
    from zoo.registry.schema import AdapterRecord, Metric
    from zoo.runtime.console import Report

_PROBE = ("A film to remember.", "I left before the end, and so did everybody else in the cinema.", "Why?")


_RENAMED = {
    "trunk": "backbone",
    "make_do": "reduce_memory",
    "doubts": "warnings",
    "baseline_words": "describe_baselines",
}
"""Methods of 0.1.0 -> their names now: a plugin that overrides an old one still does."""


class Task(ABC):
    """Base class of tasks. The methods are in the order in which a run calls them."""

    name: str
    summary: str
    bases: tuple[str, ...]
    """Default bases in order of preference: references as `--base` takes them."""
    data: tuple[str, ...]
    """Default data sets in order of preference: references as `--data` takes them."""
    columns: tuple[str, ...]
    """The columns that the data must have."""
    text_columns: tuple[str, ...] = ("text",)
    """The columns that an input of `zoo predict` has: two for pairs of texts."""
    peft_type: str | None
    """PEFT's task type (`SEQ_CLS`, `CAUSAL_LM`); None for a model that is not a language model."""
    auto_class: str
    """Name of the class in transformers that loads the model (`AutoModelForCausalLM`)."""
    targets: tuple[str, ...] | None = None
    """Modules that low-rank methods adapt; None for PEFT's default for the model type."""
    pipeline_tag: str = ""
    """The Hub's name of such a task (`text-classification`), for its filters and the model-index."""
    language: str = ""
    """Language of the default data, as ISO 639-1 (`en`)."""
    primary_metric: str
    labels: tuple[str, ...] = ()
    """Label names of the default data."""
    epochs: float = 3.0
    max_length: int = 512
    batch_tokens: int = 2048
    eval_limit: int = 5000
    measured_together: bool = False
    """Rows are ranked against each other (a gallery), so baselines are measured on all of them."""

    def __init_subclass__(cls) -> None:
        for old, new in _RENAMED.items():
            if old in vars(cls):
                warnings.warn(f"{cls.__name__}.{old} is called {new} now", DeprecationWarning, stacklevel=2)
                setattr(cls, new, vars(cls)[old])

    def resolve_targets(self, asked: Sequence[str]) -> Sequence[str] | str:
        """Module names, or a pattern, for the `targets` that were asked for: a task may have aliases."""
        return asked

    def frames(self, data: Resolved) -> dict[str, DataFrame]:
        """The rows of each split as the source reads them; a task with its own kind of files overrides it."""
        return source.source_of(data.source).frames(data)

    @abstractmethod
    def examples(
        self, frames: Mapping[str, DataFrame], columns: Mapping[str, str], location: str, report: Report
    ) -> tuple[dict[str, list[Example]], list[str]]:
        """Usable rows of each split, and the label names by id.

        Raises:
            DataError: the rows cannot be trained on; the message says why.
        """

    @abstractmethod
    def key(self, example: Example) -> str:
        """The text that identifies a row: it decides what is held out, and what is a duplicate."""

    def inputs(self, example: Example) -> tuple[str, ...]:
        """The texts of an example; `zoo data check` counts their characters."""
        return (self.key(example),)

    def relabel(self, splits: dict[str, list[Example]], names: Sequence[str], trained: Sequence[str]) -> None:
        """Give rows of other data the label ids that an adapter was trained with, where the task has labels.

        Raises:
            DataError: a label that the adapter was not trained with.
        """
        for name in names:
            if name not in trained:
                raise DataError(
                    f"label '{name}' is unknown to the adapter, which knows {', '.join(trained)}."
                    f"{did_you_mean(name, trained)}"
                )
        for rows in splits.values():
            for row in rows:
                if "label" in row:
                    row["label"] = trained.index(names[row["label"]])

    @abstractmethod
    def example(self, given: Any) -> Example:
        """One input of `zoo predict` as an example without a label: a text, or a tuple of `text_columns`.

        Raises:
            UsageError: more or fewer texts than the task takes.
        """

    def probe(self) -> list[Example]:
        """A few inputs on which a saved and a loaded model are compared."""
        return [self.example(text) for text in _PROBE]

    def refuses_base(self, folder: Path, config: Mapping[str, Any]) -> str | None:
        """Why no base with this `config` (its config.json) can be used, to follow "'NAME' "; None if it can.

        Asked before torch is imported: only small files in `folder` are read, and no weight need be there.
        """
        return None

    @abstractmethod
    def load_processor(self, folder: Path) -> Any:
        """The base's tokenizer or processor, from a local folder."""

    def load_model(self, folder: Path, labels: Sequence[str], **options: Any) -> tuple[nn.Module, list[str]]:
        """The pretrained model, and the names of its modules without pretrained weights."""
        import transformers

        auto = getattr(transformers, self.auto_class)
        model, missing = load_weights(auto, folder, self.model_config(folder, labels), **options)
        return model, self.fresh_modules(model, missing)

    def empty_model(self, folder: Path, labels: Sequence[str]) -> tuple[nn.Module, list[str]]:
        """As `load_model`, on the meta device from the config alone: shapes without weights."""
        import torch
        import transformers

        with torch.device("meta"):
            auto = getattr(transformers, self.auto_class)
            model = auto.from_config(self.model_config(folder, labels))
        model.tie_weights()
        return model, self.fresh_modules(model, [])

    def model_config(self, folder: Path, labels: Sequence[str]) -> Any:
        """The config of the model to load.

        Raises:
            IncompatibleError: the base is not a model for this task.
        """
        return load_config(folder)

    def fresh_modules(self, model: nn.Module, missing: Sequence[str]) -> list[str]:
        """Names of modules without pretrained weights, where `missing` tensors are not in the base.

        Raises:
            IncompatibleError: so much is missing that the weights are of another architecture.
        """
        check_missing(model, missing)
        return []

    def blank(self, tokens: int, length: int) -> dict[str, Tensor]:
        """A batch of `tokens` tokens on the meta device, for the memory estimate: (rows, length)."""
        import torch

        rows = max(1, tokens // length)
        return {"input_ids": torch.zeros((rows, length), dtype=torch.long, device="meta")}

    def backbone(self, model: nn.Module) -> nn.Module:
        """The pretrained part of a model from `load_model`; its dropout is off when it is frozen."""
        return getattr(model, getattr(model, "base_model_prefix", ""), model)

    def trunk(self, model: nn.Module) -> nn.Module:
        """Deprecated name of `backbone`, for plugins made for 0.1.0."""
        return self.backbone(model)

    @abstractmethod
    def encode(self, examples: Sequence[Example], processor: Any, max_length: int) -> list[dict[str, Any]]:
        """Examples as the model's inputs, unpadded, each with its `length` in tokens."""

    def remarks(self, encoded: Iterable[Mapping[str, Any]], max_length: int) -> list[str]:
        """Warnings about the encoded rows: how many were truncated."""
        return []

    @abstractmethod
    def collate(self, encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
        """A padded batch, with `labels` where the examples have them."""

    def pack(self, encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
        """A training batch as one row without padding, whose examples do not attend to each other.

        A task that does not override it refuses `--packing`.
        """
        raise NotImplementedError

    @abstractmethod
    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """Sum over the batch divided by `num_items_in_batch` (all accumulated batches), or the mean."""

    def live_metric(self, outputs: Any, labels: Tensor) -> tuple[str, Tensor, int] | None:
        """(name, hits, n) of a training batch, for the progress line; `hits` stays on its device."""
        return None

    def after_step(self, model: nn.Module) -> None:
        """Called after each optimizer step: for parameters that must stay within bounds."""
        return

    def reduce_memory(self, model: nn.Module, budget: int) -> str | None:
        """Called when batches of `budget` tokens ran out of memory: compute the same with less of it.

        Returns:
            A description of the change; None where the batches should become smaller.
        """
        return None

    def results(self, outputs: Any, labels: Tensor | None) -> Tensor:
        """What is kept of a batch for `measure` and `predictions`, shape (examples, numbers).

        `labels` are those of `collate`, or None for examples without labels.
        """
        logits: Tensor = outputs.logits
        return logits

    @abstractmethod
    def measure(
        self, outputs: np.ndarray, encoded: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> list[Metric]:
        """Metrics with n and interval, from the rows of `results`, one per example."""

    def change(self, before: np.ndarray, after: np.ndarray) -> list[Metric]:
        """Paired differences between the rows of `results` before and after training.

        Where examples differ more from each other than training changes them, the paired interval is the
        narrow one. A metric `NAME_change` then decides whether NAME beats the untrained base.
        """
        return []

    def baselines(
        self, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> dict[str, list[Metric]]:
        """Metrics of answers that need no model (always the most frequent label)."""
        return {}

    def describe_baselines(self, train: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, str]:
        """A description of each baseline, for the warning about a metric that does not beat it."""
        return {}

    def warnings(
        self,
        metrics: Sequence[Metric],
        baselines: Mapping[str, Sequence[Metric]],
        descriptions: Mapping[str, str],
    ) -> list[str]:
        """Warnings about the metrics; `descriptions` are those of `describe_baselines`."""
        from zoo.tasks.metrics import not_beaten

        return not_beaten(metrics, baselines, descriptions)

    def samples(self, run: Run, held_out: Sequence[Example]) -> list[tuple[str, str, str]]:
        """(input, expected answer, the model's answer) of a few held-out examples.

        Called before and after training; empty for a task that generates nothing.
        """
        return []

    @abstractmethod
    def predictions(self, outputs: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        """What `zoo predict` prints, from the rows of `results`."""

    def inputs_of(self, frame: DataFrame, columns: Mapping[str, str], location: str) -> list[Any]:
        """The inputs for `example` from the rows of a file given to `zoo predict`.

        Raises:
            DataError: a column is missing, or a row has no text in it.
        """
        roles = self.text_columns
        table = columns_of(frame, recognise(frame, roles, columns, location), location)
        rows = list(table.itertuples(index=False, name=None))
        for number, row in enumerate(rows, 1):
            for role, text in zip(roles, row, strict=True):
                if not isinstance(text, str) or not text.strip():
                    raise DataError(f"{location}, row {number} has no {role}.")
        return [row[0] for row in rows] if len(roles) == 1 else rows

    def predict(self, loaded: LoadedAdapter, inputs: Sequence[Any], report: Report) -> list[dict[str, Any]]:
        """What `zoo predict` prints for each input, in order, in fp32: the same numbers as plain peft."""
        examples = [self.example(given) for given in inputs]
        encoded = self.encode(examples, loaded.processor, loaded.max_length)
        outputs = loaded.outputs(encoded, "fp32", report, "predicting")
        return self.predictions(outputs, loaded.record.labels)

    def rank(
        self, loaded: LoadedAdapter, queries: Sequence[str], gallery: Path, report: Report
    ) -> list[dict[str, Any]]:
        """The nearest items of a folder for each query: `query`, and `matches` with their `similarity`.

        Raises:
            UsageError: the task does not rank.
        """
        raise UsageError(f"{self.name} does not rank, so it takes no --gallery.")

    @abstractmethod
    def usage(self, record: AdapterRecord, restore: str) -> str:
        """Python for the card: load the base, run `restore` (the method's lines), predict; no zoo.

        `record.name` is what it opens as `folder`: a folder, or the id of a repository on the Hub.
        """

    def command(self, name: str) -> str:
        """The command on the card that uses the adapter."""
        return shlex.join(["zoo", "predict", name, _PROBE[0]])

    def limits(self, record: AdapterRecord) -> list[str]:
        """Limitations for the card: what the adapter does not do, or was not measured on."""
        return []
