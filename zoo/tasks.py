"""What is learned, on which data, measured how: the interface of a task plugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import sources
from zoo.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor, nn

    from zoo.data import Example
    from zoo.inference import LoadedAdapter
    from zoo.report import Report
    from zoo.sources import Resolved
    from zoo.specs import AdapterRecord, Metric


class Task(ABC):
    """Base of a task plugin. Methods are in the order in which a run calls them."""

    name: str
    summary: str
    bases: tuple[str, ...]
    """Default bases in order of preference: references as `--base` takes them."""
    data: tuple[str, ...]
    """Default data sets in order of preference: references as `--data` takes them."""
    columns: tuple[str, ...]
    """The columns that the data must have."""
    peft_type: str | None
    """PEFT's task type: `SEQ_CLS`, `CAUSAL_LM`; None for a model that is no language model."""
    targets: tuple[str, ...] | None = None
    """Modules that low-rank methods adapt; None is PEFT's choice for the model type."""
    primary_metric: str
    labels: tuple[str, ...] = ()
    """Label names of the default data."""
    epochs: float = 3.0
    max_length: int = 512
    batch_tokens: int = 2048
    eval_limit: int = 5000

    def frames(self, data: Resolved) -> dict[str, DataFrame]:
        """The rows of each split as the source reads them; a task with its own kind of files reads them."""
        return sources.source_of(data.source).frames(data)

    @abstractmethod
    def examples(
        self, frames: Mapping[str, DataFrame], columns: Mapping[str, str], location: str, report: Report
    ) -> tuple[dict[str, list[Example]], list[str]]:
        """Usable rows of each split, and the labels' names by id.

        Raises:
            DataError: rows that cannot be trained on, said in words.
        """

    @abstractmethod
    def key(self, example: Example) -> str:
        """The text that makes a row the same row: decides what is held out, and what is a copy."""

    def relabel(self, splits: dict[str, list[Example]], names: Sequence[str], trained: Sequence[str]) -> None:
        """Give rows of other data the label ids that an adapter was trained with.

        Raises:
            DataError: a label that the adapter has never seen.
        """
        for name in names:
            if name not in trained:
                raise DataError(
                    f"label '{name}' is unknown to the adapter, which knows {', '.join(trained)}."
                    f"{did_you_mean(name, trained)}"
                )
        for rows in splits.values():
            for row in rows:
                row["label"] = trained.index(names[row["label"]])

    @abstractmethod
    def example(self, text: str) -> Example:
        """One input of `zoo predict` as an example without a label."""

    @abstractmethod
    def load_processor(self, folder: Path) -> Any:
        """The base's tokenizer or processor, from a local folder."""

    @abstractmethod
    def load_model(self, folder: Path, labels: Sequence[str], **options: Any) -> tuple[nn.Module, list[str]]:
        """The pretrained model and the names of its modules without pretrained weights."""

    @abstractmethod
    def empty_model(self, folder: Path, labels: Sequence[str]) -> tuple[nn.Module, list[str]]:
        """As `load_model`, on the meta device from the config alone: shapes without weights."""

    def trunk(self, model: nn.Module) -> nn.Module:
        """The pretrained part of `load_model`'s model, whose dropout goes off when it is frozen."""
        return getattr(model, getattr(model, "base_model_prefix", ""), model)

    @abstractmethod
    def encode(self, examples: Sequence[Example], processor: Any, max_length: int) -> list[dict[str, Any]]:
        """Examples as the model's inputs, unpadded, each with its `length` in tokens."""

    @abstractmethod
    def collate(self, encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
        """A padded batch, with `labels` where the examples have them."""

    @abstractmethod
    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """Sum over the batch divided by `num_items_in_batch` (all accumulated batches), or the mean."""

    def live_metric(self, outputs: Any, labels: Tensor) -> tuple[str, Tensor, int] | None:
        """(name, hits, n) of a training batch, for the progress line; `hits` stays where it is computed."""
        return None

    def results(self, outputs: Any, labels: Tensor | None) -> Tensor:
        """What is kept of a batch for `measure` and `predictions`: (examples, numbers).

        `labels` are those of `collate`, or None for examples that have none.
        """
        logits: Tensor = outputs.logits
        return logits

    @abstractmethod
    def measure(
        self, outputs: np.ndarray, encoded: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> list[Metric]:
        """Metrics with n and interval, from the rows of `results`, one an example."""

    def baselines(
        self, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> dict[str, list[Metric]]:
        """Metrics of answers that need no model (always the commonest label)."""
        return {}

    def baseline_words(self, train: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, str]:
        """Each baseline in words, for the sentence that flags a metric which does not beat it."""
        return {}

    @abstractmethod
    def predictions(self, outputs: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        """What `zoo predict` prints, from the rows of `results`."""

    def predict(self, loaded: LoadedAdapter, inputs: Sequence[str], report: Report) -> list[dict[str, Any]]:
        """What `zoo predict` prints of each input, in order, in fp32: the numbers that plain peft gives."""
        examples = [self.example(text) for text in inputs]
        encoded = self.encode(examples, loaded.processor, loaded.max_length)
        outputs = loaded.outputs(encoded, "fp32", report, "predicting")
        return self.predictions(outputs, loaded.record.labels)

    @abstractmethod
    def usage(self, record: AdapterRecord, restore: str) -> str:
        """Python for the card: load the base, run `restore` (the method's lines), predict; no zoo."""
