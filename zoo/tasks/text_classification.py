"""Defines tasks that classify a text, or a pair of texts, with a classification head."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cards.markdown import single_line
from zoo.cards.snippets import base_arguments, literal
from zoo.data.columns import LABEL, few_values, recognise
from zoo.data.files import CLASS_NAMES, Example, columns_of
from zoo.errors import DataError, UsageError
from zoo.models.families import IMAGES, kind_of
from zoo.models.loading import check_missing, load_config, load_tokenizer
from zoo.runtime.checks import some
from zoo.tasks.base import Task

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor, nn

    from zoo.registry.schema import AdapterRecord, Metric
    from zoo.runtime.console import Report

_INTEGER = re.compile(r"([+-]?\d{1,18})(\.0+)?")
_PROBE_PAIRS = (
    ("The company said profits rose by a tenth.", "Profits grew ten percent, the company said."),
    ("Shares fell on Friday.", "The talks go on."),
)
_SAMPLE = ("A film to remember.",)


class TextClassification(Task):
    """A plugin sets names and defaults, and overrides `clean` where its texts need it.

    With two `text_columns` it is a task on pairs: an example has its first text under `text` and its second
    under `pair`.
    """

    columns: tuple[str, ...] = ("text", LABEL)
    peft_type = "SEQ_CLS"
    auto_class = "AutoModelForSequenceClassification"
    pipeline_tag = "text-classification"
    primary_metric = "accuracy"
    labels = ("negative", "positive")

    def clean(self, text: str) -> str:
        """A text as the tokenizer should see it, in training and in prediction alike."""
        return text

    def examples(
        self, frames: Mapping[str, DataFrame], columns: Mapping[str, str], location: str, report: Report
    ) -> tuple[dict[str, list[Example]], list[str]]:
        tables: dict[str, DataFrame] = {}
        declared: Sequence[str] | None = None
        said = set()
        for split, frame in frames.items():
            wanted = recognise(frame, self.columns, columns, location)
            found = {role: name for role, name in wanted.items() if role != name and role not in columns}
            if found:
                said.add("columns: " + ", ".join(f"{name} is the {role}" for role, name in found.items()))
            tables[split] = columns_of(frame, wanted, location)
            declared = declared or frame.attrs.get(CLASS_NAMES, {}).get(wanted[LABEL])
        for line in sorted(said):
            report.say(line)
        others = few_values(next(iter(frames.values())))
        labels = {split: _labels(table[LABEL].tolist(), bool(declared)) for split, table in tables.items()}
        ids, names = self._label_ids(labels, declared, columns.get(LABEL, LABEL), location, report, others)
        splits: dict[str, list[Example]] = {}
        bare: list[str] = []
        unlabelled: list[str] = []
        for split, table in tables.items():
            splits[split] = []
            texts = table[list(self.text_columns)].itertuples(index=False, name=None)
            for row, (given, label) in enumerate(zip(texts, labels[split], strict=True)):
                if label is None:
                    if any(other is not None for other in labels[split]):
                        unlabelled.append(f"{split} row {row + 1}")
                elif not all(isinstance(text, str) and text.strip() for text in given):
                    bare.append(f"{split} row {row + 1}")
                else:
                    splits[split].append({**self.example(given), "label": ids[label]})
        lacking = "have no text" if len(self.text_columns) == 1 else "lack a text of the pair"
        for rows, lack in ((bare, lacking), (unlabelled, "have no label")):
            if rows:
                report.left_out(f"{len(rows)} rows of {location} {lack} and are left out (first: {rows[0]}).")
        if not any(splits.values()):
            texts_and = "both a text" if len(self.text_columns) == 1 else "both texts"
            raise DataError(f"{location} has no row with {texts_and} and a label.")
        return {split: rows for split, rows in splits.items() if rows}, names

    def relabel(self, splits: dict[str, list[Example]], names: Sequence[str], trained: Sequence[str]) -> None:
        if list(names) == list(self.labels) and not set(names) & set(trained):
            # the other data has numbers, of which the task's label names were made
            names = [str(index) for index in range(len(names))]
        super().relabel(splits, names, trained)

    def key(self, example: Example) -> str:
        texts = self.inputs(example)
        return texts[0] if len(texts) == 1 else json.dumps(texts)

    def example(self, given: str | Sequence[str]) -> Example:
        texts = [given] if isinstance(given, str) else given
        if len(texts) != len(self.text_columns):
            raise UsageError(
                f"{self.name} takes {'a pair of texts' if len(self.text_columns) == 2 else 'one text'}, "
                f"{' and '.join(self.text_columns)}, and {len(texts)} were given.",
            )
        return dict(zip(("text", "pair"), map(self.clean, texts), strict=False))

    def probe(self) -> list[Example]:
        if len(self.text_columns) == 1:
            return super().probe()
        return [self.example(pair) for pair in _PROBE_PAIRS]

    def refuses_base(self, folder: Path, config: Mapping[str, Any]) -> str | None:
        if kind_of(config) != IMAGES:
            return None
        return (
            f"is a {config.get('model_type')} model, and {self.name} needs a text encoder or language model"
        )

    def load_processor(self, folder: Path) -> Any:
        tokenizer = load_tokenizer(folder)
        # heads look for the last token before the padding, and padding in front would shift positions
        tokenizer.padding_side = "right"
        return tokenizer

    def load_model(self, folder: Path, labels: Sequence[str], **options: Any) -> tuple[nn.Module, list[str]]:
        # a base that has a head of another size gets a fresh one
        return super().load_model(folder, labels, ignore_mismatched_sizes=True, **options)

    def encode(self, examples: Sequence[Example], processor: Any, max_length: int) -> list[dict[str, Any]]:
        texts = [self.inputs(example) for example in examples]
        columns = processor(*map(list, zip(*texts, strict=True)), truncation=True, max_length=max_length)
        encoded = []
        for row, example in enumerate(examples):
            one = {name: values[row] for name, values in columns.items()}
            one["length"] = len(one["input_ids"])
            if "label" in example:
                one["labels"] = example["label"]
            encoded.append(one)
        return encoded

    def inputs(self, example: Example) -> tuple[str, ...]:
        """The one or two texts that the tokenizer joins."""
        return tuple(example[name] for name in ("text", "pair") if name in example)

    def collate(self, encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
        import torch

        names = [name for name in encoded[0] if name not in ("length", "labels")]
        batch = processor.pad({name: [one[name] for one in encoded] for name in names}, return_tensors="pt")
        if "labels" in encoded[0]:
            batch["labels"] = torch.tensor([one["labels"] for one in encoded])
        return dict(batch)

    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        from torch.nn.functional import cross_entropy

        total = cross_entropy(outputs.logits.float(), labels, reduction="sum")
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    def live_metric(self, outputs: Any, labels: Tensor) -> tuple[str, Tensor, int] | None:
        return "accuracy", (outputs.logits.argmax(-1) == labels).sum(), len(labels)

    def measure(
        self, outputs: np.ndarray, encoded: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> list[Metric]:
        from zoo.tasks.metrics import classification

        return classification([one["labels"] for one in encoded], outputs.argmax(-1).tolist(), len(labels))

    def baselines(
        self, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> dict[str, list[Metric]]:
        return {"majority": self.constant(_commonest(train), held_out, labels)}

    @staticmethod
    def constant(label: int, held_out: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[Metric]:
        """The metrics of answering every row with `label`."""
        from zoo.tasks.metrics import classification

        truth = [one["labels"] for one in held_out]
        return classification(truth, [label] * len(truth), len(labels))

    def describe_baselines(self, train: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, str]:
        return {
            "majority": f"always answering '{labels[_commonest(train)]}'",
            "untrained": "the untrained base with a fresh head",
        }

    def predictions(self, outputs: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        from scipy.special import softmax

        rows = softmax(outputs.astype("float64"), axis=-1)
        return [
            {
                "label": labels[int(row.argmax())],
                "probability": float(row.max()),
                "probabilities": {name: float(value) for name, value in zip(labels, row, strict=True)},
            }
            for row in rows
        ]

    def usage(self, record: AdapterRecord, restore: str) -> str:
        settings = f"num_labels={len(record.labels)}, dtype=torch.float32"
        return f"""import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = {literal(record.name)}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained({base_arguments(record)}, {settings})
{restore}
model.eval()
texts = {json.dumps(_PROBE_PAIRS[0] if len(self.text_columns) == 2 else _SAMPLE)}
inputs = tokenizer(*texts, truncation=True, max_length={record.spec.max_length}, return_tensors="pt")
with torch.no_grad():
    print(model(**inputs).logits.softmax(-1))  # {single_line(", ".join(record.labels))}
"""

    def command(self, name: str) -> str:
        if len(self.text_columns) == 1:
            return super().command(name)
        return shlex.join(["zoo", "predict", name, "--pair", *_PROBE_PAIRS[0]])

    def limits(self, record: AdapterRecord) -> list[str]:
        if not record.labels:
            return []
        return [f"Every text gets one of the {len(record.labels)} labels, even if none of them fits."]

    def model_config(self, folder: Path, labels: Sequence[str]) -> Any:
        names = dict(enumerate(labels))
        ids = {name: index for index, name in names.items()}
        return load_config(folder, num_labels=len(labels), id2label=names, label2id=ids)

    def fresh_modules(self, model: nn.Module, missing: Sequence[str]) -> list[str]:
        """Modules outside the backbone, and modules inside it that are missing from the checkpoint."""
        backbone = self.backbone(model)
        outside = [
            name
            for name, module in model.named_children()
            if module is not backbone and any(True for _ in module.parameters())
        ]
        sizes = {name: value.numel() for name, value in model.named_parameters()}
        inside = [key for key in missing if key.partition(".")[0] not in outside and key in sizes]
        check_missing(model, inside)
        return outside + sorted({key.rpartition(".")[0] for key in inside})

    def _label_ids(
        self,
        labels: Mapping[str, Sequence[int | str | None]],
        declared: Sequence[str] | None,
        column: str,
        location: str,
        report: Report,
        others: Sequence[str] = (),
    ) -> tuple[dict[Any, int], list[str]]:
        """Label -> id, and the names by id: the data's declared ones, or the task's, or the values."""
        values = {label for found in labels.values() for label in found} - {None}
        rows = sum(map(len, labels.values()))
        if not values:
            raise DataError(f"column '{column}' of {location} has no label in any row.")
        if len(values) == 1:
            raise DataError(
                f"every row of {location} has the label '{values.pop()}': at least two are needed."
            )
        if len(values) > max(20, rows // 4):
            raise DataError(
                f"column '{column}' of {location} has {len(values)} different values in {rows} rows: "
                "those are not class labels.",
                shlex.join(["--column", f"label={others[0]}"]) if others else None,
            )
        if declared and values <= set(range(len(declared))):
            short = len(declared) == len(self.labels) and all(map(str.startswith, self.labels, declared))
            # `neg` and `pos` are the task's `negative` and `positive`
            return {index: index for index in range(len(declared))}, list(self.labels if short else declared)
        ids = {name.casefold(): index for index, name in enumerate(self.labels)}
        ids |= {str(index): index for index in range(len(self.labels))}
        if all(str(value).casefold() in ids for value in values):
            return {value: ids[str(value).casefold()] for value in values}, list(self.labels)
        numbers = sorted(value for value in values if isinstance(value, int))
        others = sorted(value for value in values if isinstance(value, str))
        if numbers and others:
            digits = some([str(number) for number in numbers])
            report.warn(
                f"the labels of {location} are numbers ({digits}) and words ({some(others)}): "
                "each is a class of its own."
            )
        ordered = [*numbers, *others]
        return {value: index for index, value in enumerate(ordered)}, [str(value) for value in ordered]


def _labels(values: Sequence[Any], declared: bool) -> list[int | str | None]:
    """A column's labels. -1 means "no label" in a split of nothing else, as in GLUE and IMDB, or beside
    declared classes; elsewhere it is a label like any other."""
    labels = [_label(value) for value in values]
    if not declared and not set(labels) <= {None, -1}:
        return labels
    return [None if label == -1 else label for label in labels]


def _label(value: Any) -> int | str | None:
    """A label as an int where it is one (`"1"`, `1.0`), else as text; None where there is none."""
    if value is None or value != value:  # NaN is not itself
        return None
    text = " ".join(str(value).split())
    if not text:
        return None
    integer = _INTEGER.fullmatch(text)
    return int(integer[1]) if integer else text


def _commonest(train: Sequence[Mapping[str, Any]]) -> int:
    return int(Counter(one["labels"] for one in train).most_common(1)[0][0])
