"""Tasks that give a text one of several labels with an encoder or decoder and a classification head."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data import Example, columns_of
from zoo.errors import DataError, IncompatibleError, NotFoundError, ZooError
from zoo.identity import read_config
from zoo.tasks import Task

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor, nn

    from zoo.report import Report
    from zoo.specs import AdapterRecord, Metric

_INTEGER = re.compile(r"[+-]?\d+(\.0+)?")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_MOST_FRESH = 0.1
"""A trunk with a larger share of missing weights is not the checkpoint of this architecture."""


class TextClassification(Task):
    """A plugin gives names and defaults, and `clean` where its texts need it."""

    columns = ("text", "label")
    peft_type = "SEQ_CLS"
    primary_metric = "accuracy"
    labels = ("negative", "positive")

    def clean(self, text: str) -> str:
        """A text as the tokenizer should see it, in training and in prediction alike."""
        return text

    def examples(
        self, frames: Mapping[str, DataFrame], columns: Mapping[str, str], location: str, report: Report
    ) -> tuple[dict[str, list[Example]], list[str]]:
        wanted = {role: columns.get(role, role) for role in self.columns}
        tables = {split: columns_of(frame, wanted, location) for split, frame in frames.items()}
        ids, names = self._label_ids(tables, wanted["label"], location)
        splits: dict[str, list[Example]] = {}
        skipped: list[str] = []
        for split, table in tables.items():
            splits[split] = []
            texts = table["text"].tolist()
            for row, (text, label) in enumerate(
                zip(texts, map(_label, table["label"].tolist()), strict=True)
            ):
                if label in (None, -1):  # GLUE and IMDB mark rows without a label by -1
                    continue
                if not isinstance(text, str) or not text.strip():
                    skipped.append(f"{split} row {row + 1}")
                    continue
                splits[split].append({"text": self.clean(text), "label": ids[label]})
        if skipped:
            report.warn(
                f"{len(skipped)} rows of {location} have no text and are left out (first: {skipped[0]})."
            )
        if not any(splits.values()):
            raise DataError(f"{location} has no row with both a text and a label.")
        return {split: rows for split, rows in splits.items() if rows}, names

    def key(self, example: Example) -> str:
        return str(example["text"])

    def example(self, text: str) -> Example:
        return {"text": self.clean(text)}

    def load_processor(self, folder: Path) -> Any:
        from transformers import AutoTokenizer

        if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
            # transformers makes up an empty tokenizer, and training on its tokens succeeds
            raise NotFoundError(f"{folder} has no tokenizer ({', '.join(_TOKENIZER_FILES)}).")
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def load_model(self, folder: Path, labels: Sequence[str], **options: Any) -> tuple[nn.Module, list[str]]:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForSequenceClassification

        try:
            model, info = AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                config=self._config(folder, labels),
                use_safetensors=True,
                local_files_only=True,
                # a base with somebody's head of another size: theirs goes, ours is drawn
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **{"dtype": torch.float32, **options},
            )
        except SafetensorError as error:
            raise ZooError(f"the weights in {folder} are damaged: {error}.") from error
        mismatched = [key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]]
        return model, self._head(model, [*info["missing_keys"], *mismatched])

    def empty_model(self, folder: Path, labels: Sequence[str]) -> tuple[nn.Module, list[str]]:
        import torch
        from transformers import AutoModelForSequenceClassification

        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(self._config(folder, labels))
        return model, self._head(model, [])

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
        return (example["text"],)

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
        from zoo.metrics import classification

        return classification([one["labels"] for one in encoded], outputs.argmax(-1).tolist(), len(labels))

    def baselines(
        self, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> dict[str, list[Metric]]:
        from zoo.metrics import classification

        truth = [one["labels"] for one in held_out]
        return {"majority": classification(truth, [_commonest(train)] * len(truth), len(labels))}

    def baseline_words(self, train: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, str]:
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
        whole = record.format == "transformers"
        base = "folder" if whole else f'"{record.base.reference}"'
        return f"""import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "{record.name}"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained({base}, num_labels={len(record.labels)})
{restore}
model.eval()
text = "A film to remember."
inputs = tokenizer(text, truncation=True, max_length={record.spec.max_length}, return_tensors="pt")
with torch.no_grad():
    print(model(**inputs).logits.softmax(-1))  # {", ".join(record.labels)}
""".replace("\n\n\n", "\n\n")

    def _config(self, folder: Path, labels: Sequence[str]) -> Any:
        from transformers import AutoConfig

        names = dict(enumerate(labels))
        try:
            config = AutoConfig.from_pretrained(
                str(folder),
                local_files_only=True,
                num_labels=len(labels),
                id2label=names,
                label2id={name: index for index, name in names.items()},
            )
        except ValueError as error:
            kind = read_config(folder).get("model_type", "unnamed")
            raise IncompatibleError(
                f"transformers does not know the model type '{kind}' of {folder}."
            ) from error
        if config.get_text_config().pad_token_id is None:
            config.pad_token_id = config.get_text_config().eos_token_id
        return config

    def _head(self, model: nn.Module, missing: Sequence[str]) -> list[str]:
        """Modules outside the trunk, and those inside it that the checkpoint has no weights for."""
        trunk = self.trunk(model)
        outside = [
            name
            for name, module in model.named_children()
            if module is not trunk and any(True for _ in module.parameters())
        ]
        sizes = {name: value.numel() for name, value in model.named_parameters()}
        inside = [key for key in missing if key.partition(".")[0] not in outside and key in sizes]
        if sum(sizes[key] for key in inside) > _MOST_FRESH * sum(sizes.values()):
            raise IncompatibleError(
                f"the base's weights are not those of a {type(model).__name__}: "
                f"{len(inside)} tensors are missing, {inside[0]} among them."
            )
        return outside + sorted({key.rpartition(".")[0] for key in inside})

    def _label_ids(
        self, tables: Mapping[str, DataFrame], column: str, location: str
    ) -> tuple[dict[Any, int], list[str]]:
        values = {_label(value) for table in tables.values() for value in table["label"].unique().tolist()}
        values -= {None, -1}
        rows = sum(map(len, tables.values()))
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
                "--column label=NAME says which column is the label",
            )
        if all(isinstance(value, int) for value in values):
            if values <= set(range(len(self.labels))):
                return {index: index for index in range(len(self.labels))}, list(self.labels)
            ordered = sorted(values, key=lambda value: int(value or 0))
        else:
            ordered = sorted(values, key=str)
        return {value: index for index, value in enumerate(ordered)}, [str(value) for value in ordered]


def _label(value: Any) -> int | str | None:
    """A label as an int where it is one (`"1"`, `1.0`), else as text; None where there is none."""
    if value is None or value != value:  # NaN is not itself
        return None
    text = str(value).strip()
    if not text:
        return None
    return int(float(text)) if _INTEGER.fullmatch(text) else text


def _commonest(train: Sequence[Mapping[str, Any]]) -> int:
    return int(Counter(one["labels"] for one in train).most_common(1)[0][0])
