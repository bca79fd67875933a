"""Defines image-text retrieval tasks, for dual-encoder models such as CLIP and SigLIP."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cards.snippets import base_arguments, literal
from zoo.data.files import Example
from zoo.errors import IncompatibleError, NotFoundError, UsageError
from zoo.models.fingerprint import read_config
from zoo.tasks.base import Task
from zoo.tasks.image_text import captioned, images
from zoo.tasks.image_text.captions import padded, tokens
from zoo.tasks.image_text.contrastive import (
    compute_in_parts,
    contrastive_loss,
    distinct,
    label,
    parts,
    right_answers,
)
from zoo.tasks.image_text.gallery import rank
from zoo.tasks.image_text.pixels import normalised, prepare

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor, nn

    from zoo.adapters.load import LoadedAdapter
    from zoo.plugins.source import Resolved
    from zoo.registry.schema import AdapterRecord, Metric
    from zoo.runtime.console import Report
    from zoo.tasks.image_text.retrieval import Pairs

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_HOTTEST = 100.0
"""CLIP's largest inverse temperature (`logit_scale` is its logarithm)."""
_BOTH = "both"
_TOWERS = {"vision": "vision_model", "text": "text_model"}
_FEW = 200
"""Fewer held-out pictures than this are flagged."""
_PROBE = ("a red square", "the sea at night, and above it a very small moon", "why")


class ImageTextRetrieval(Task):
    """A plugin sets names and defaults.

    An example is a picture with all its captions; encoded, each pair is a row. A row's `length` is 1, so
    `batch_tokens` counts the pairs of a batch. Every pair is contrasted with all others in its batch, so
    larger batches train better; accumulating batches averages their losses and adds no negatives.

    The temperature is the base's own `logit_scale`: frozen where the method freezes the base, and otherwise
    clamped at 100, as in CLIP. Pictures are not augmented.
    """

    columns = ("image", "text")
    peft_type = None
    auto_class = "AutoModel"
    pipeline_tag = "zero-shot-image-classification"
    targets = ("q_proj", "k_proj", "v_proj", "out_proj")
    primary_metric = "mean_recall"
    max_length = 77
    batch_tokens = 128
    measured_together = True
    model_types: tuple[str, ...] = ("clip", "siglip")

    def __init__(self) -> None:
        self._part: int | None = None
        self._side = 224

    def resolve_targets(self, asked: Sequence[str]) -> Sequence[str] | str:
        """`vision` or `text` are the modules of one encoder, `both` those of all; other names are modules."""
        towers = [word for word in asked if word in _TOWERS]
        modules = [word for word in asked if word not in (*_TOWERS, _BOTH)] or list(self.targets)
        if _BOTH in asked or len(set(towers)) != 1:
            return modules
        return rf".*{_TOWERS[towers[0]]}\..*\.({'|'.join(map(re.escape, modules))})"

    def frames(self, data: Resolved) -> dict[str, DataFrame]:
        if data.source == "local" and data.path is not None:
            found = captioned.read_folder(data.path)
            if found:
                return found
            captioned.check_is_data(data.path)
        return super().frames(data)

    def examples(
        self, frames: Mapping[str, DataFrame], columns: Mapping[str, str], location: str, report: Report
    ) -> tuple[dict[str, list[Example]], list[str]]:
        return captioned.examples(frames, columns, location, report), []

    def key(self, example: Example) -> str:
        return "\0".join((example["digest"], *sorted(example["texts"])))

    def inputs(self, example: Example) -> tuple[str, ...]:
        return tuple(example["texts"])

    def example(self, text: str) -> Example:
        """A picture if `text` is the path of one, else a caption."""
        if Path(text).suffix.lower() not in images.SUFFIXES:
            return {"texts": [text]}
        if not Path(text).is_file():
            raise NotFoundError(f"there is no file '{text}'.")
        return {"image": text, "texts": []}

    def probe(self) -> list[Example]:
        return [
            {
                "image": images.made(number),
                "name": f"probe {number}",
                "digest": f"probe {number}",
                "texts": [text],
                "number": number,
                "numbers": [number],
            }
            for number, text in enumerate(_PROBE)
        ]

    def refuses_base(self, folder: Path, config: Mapping[str, Any]) -> str | None:
        kind = config.get("model_type", "unnamed")
        if kind in self.model_types:
            return None
        kinds = ", ".join(self.model_types)
        return f"is a {kind} model, and {self.name} needs one of images and texts ({kinds})"

    def load_processor(self, folder: Path) -> Any:
        from transformers import AutoProcessor

        if not any((folder / file).is_file() for file in _PROCESSOR_FILES):
            raise NotFoundError(f"{folder} has no image processor ({' or '.join(_PROCESSOR_FILES)}).")
        images.need_pillow()
        try:
            # torchvision resizes slightly differently, and pixels must be the same on all machines
            processor = AutoProcessor.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, backend="pil"
            )
        except (OSError, ValueError) as error:
            raise NotFoundError(
                f"{folder} has no usable processor: {' '.join(str(error).split())}"
            ) from error
        if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
            raise NotFoundError(f"{folder} has no processor for both images and texts.")
        return processor

    def blank(self, tokens: int, length: int) -> dict[str, Tensor]:
        import torch

        return {
            "input_ids": torch.zeros((tokens, length), dtype=torch.long, device="meta"),
            "pixel_values": torch.zeros((tokens, 3, self._side, self._side), device="meta"),
        }

    def encode(self, examples: Sequence[Example], processor: Any, max_length: int) -> list[dict[str, Any]]:
        pictures = {one["digest"]: one["image"] for one in examples}
        pixels = dict(zip(pictures, prepare(pictures, processor.image_processor), strict=True))
        texts = tokens([text for one in examples for text in one["texts"]], processor, max_length)
        encoded = []
        for one in examples:
            for number in one["numbers"]:
                caption = next(texts)
                # the name comes first: the token cache sees at once that such rows are not integer columns
                row = {"name": one["name"], "pixels": pixels[one["digest"]], **caption}
                encoded.append({**row, "length": 1, "labels": label(one["number"], number)})
        return encoded

    def collate(self, encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
        """`pixel_values` of the batch's distinct pictures, in order of first use by the pairs."""
        import torch

        labels = torch.tensor([one["labels"] for one in encoded])
        firsts, _ = distinct(parts(labels)[0])
        pixels = [encoded[row]["pixels"] for row in firsts.tolist()]
        return {
            **padded(encoded, processor),
            "pixel_values": normalised(pixels, processor.image_processor),
            "labels": labels,
        }

    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        total = contrastive_loss(outputs.logits_per_image.float(), labels)
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    def live_metric(self, outputs: Any, labels: Tensor) -> tuple[str, Tensor, int] | None:
        best = outputs.logits_per_text.argmax(1)
        return "recall@1 in the batch", right_answers(labels).T.gather(1, best[:, None]).sum(), len(labels)

    def after_step(self, model: nn.Module) -> None:
        """Clamp a trained temperature as CLIP does. SigLIP has no such bound."""
        import torch

        scale = getattr(model, "logit_scale", None)
        if model.config.model_type == "clip" and scale is not None and scale.requires_grad:
            with torch.no_grad():
                scale.clamp_(max=math.log(_HOTTEST))

    def reduce_memory(self, model: nn.Module, budget: int) -> str | None:
        """The contrast of the whole batch, computed with half as many pairs at a time as before."""
        part = (self._part or budget) // 2
        if part < 1:
            return None
        self._part = part
        compute_in_parts([getattr(model, name) for name in _TOWERS.values()], part)
        return f"{part} pairs at a time, computed twice, with the contrast of all {budget}"

    def results(self, outputs: Any, labels: Tensor | None) -> Tensor:
        """(pairs, 2 * width): the embeddings of each pair's picture and caption."""
        import torch

        assert labels is not None, "collate labels every pair"
        _, places = distinct(parts(labels)[0])
        return torch.cat([outputs.image_embeds[places].float(), outputs.text_embeds.float()], 1)

    def measure(
        self, outputs: np.ndarray, encoded: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> list[Metric]:
        from zoo.tasks.image_text.retrieval import measure

        width = outputs.shape[1] // 2
        return measure(outputs[:, :width], outputs[:, width:], _pairs(encoded))

    def baselines(
        self, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> dict[str, list[Metric]]:
        from zoo.tasks.image_text.retrieval import chance

        return {"chance": chance(_pairs(held_out))}

    def describe_baselines(self, train: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, str]:
        return {"chance": "ranking at random", "untrained": "the untrained base"}

    def remarks(self, encoded: Iterable[Mapping[str, Any]], max_length: int) -> list[str]:
        cut = sum(one["cut"] for one in encoded)
        return [f"{cut:,} captions have more than {max_length} tokens and are truncated."] if cut else []

    def warnings(
        self,
        metrics: Sequence[Metric],
        baselines: Mapping[str, Sequence[Metric]],
        descriptions: Mapping[str, str],
    ) -> list[str]:
        # alignment and uniformity describe the embeddings and trade off against each other
        ranks = [one for one in metrics if not one.name.endswith(("alignment", "uniformity"))]
        flags = super().warnings(ranks, baselines, descriptions)
        n, found = metrics[0].n, next(one for one in metrics if one.name == self.primary_metric)
        if n >= _FEW:
            return flags
        return [
            *flags,
            f"only {n} held-out pictures: {found.name} is between {found.low:.2f} and {found.high:.2f}, "
            "and retrieval is easier among so few",
        ]

    def predictions(self, outputs: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        """The similarity of each row's picture and caption."""
        width = outputs.shape[1] // 2
        similarities = (outputs[:, :width] * outputs[:, width:]).sum(1)
        return [{"similarity": float(one)} for one in similarities]

    def predict(self, loaded: LoadedAdapter, inputs: Sequence[str], report: Report) -> list[dict[str, Any]]:
        raise UsageError(
            f"{self.name} retrieves pictures for a text, or captions for a picture, from a gallery.",
            "--gallery FOLDER",
        )

    def rank(
        self, loaded: LoadedAdapter, queries: Sequence[str], gallery: Path, report: Report
    ) -> list[dict[str, Any]]:
        return rank(loaded, queries, [self.example(query) for query in queries], gallery, report)

    def usage(self, record: AdapterRecord, restore: str) -> str:
        return f"""import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

folder = {literal(record.name)}
processor = AutoProcessor.from_pretrained(folder, backend="pil")
model = AutoModel.from_pretrained({base_arguments(record)}, dtype=torch.float32)
{restore}
model.eval()
pictures = [Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")]  # or Image.open(...)
texts = ["a red square"]
cut = {{"padding": "max_length", "truncation": True, "max_length": {record.spec.max_length}}}
inputs = processor(text=texts, images=pictures, return_tensors="pt", **cut)
with torch.no_grad():
    print(model(**inputs).logits_per_text.softmax(-1))  # which of the pictures it is
"""

    def command(self, name: str) -> str:
        return shlex.join(["zoo", "predict", name, "a red square", "--gallery", "FOLDER"])

    def limits(self, record: AdapterRecord) -> list[str]:
        if not record.metrics:
            return []
        return [
            f"Ranks are among the {record.metrics[0].n:,} held-out pictures: retrieval from a larger gallery "
            "is harder."
        ]

    def model_config(self, folder: Path, labels: Sequence[str]) -> Any:
        refusal = self.refuses_base(folder, read_config(folder))
        if refusal:
            raise IncompatibleError(f"'{folder.name}' {refusal}.")
        config = super().model_config(folder, labels)
        self._side = config.vision_config.image_size
        return config

    def fresh_modules(self, model: nn.Module, missing: Sequence[str]) -> list[str]:
        if missing:
            raise IncompatibleError(
                f"the base's weights are not those of a {type(model).__name__}: "
                f"{len(missing)} tensors are missing, {min(missing)} among them."
            )
        return []


def _pairs(encoded: Sequence[Mapping[str, Any]]) -> Pairs:
    from zoo.tasks.image_text.retrieval import pairs_of

    numbers = [parts(one["labels"]) for one in encoded]
    return pairs_of([picture for picture, _ in numbers], [caption for _, caption in numbers])
