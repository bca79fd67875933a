"""Ranks the pictures of a folder for a text, or its captions for a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.files import Example
from zoo.errors import NotFoundError
from zoo.tasks.image_text import captioned, images
from zoo.tasks.image_text.captions import padded, tokens
from zoo.tasks.image_text.pixels import cut, normalised

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from zoo.adapters.load import LoadedAdapter
    from zoo.runtime.console import Report

_MATCHES = 10


def rank(
    loaded: LoadedAdapter, queries: Sequence[str], asked: Sequence[Example], folder: Path, report: Report
) -> list[dict[str, Any]]:
    """The nearest pictures for each text, and the nearest captions for each picture.

    Args:
        asked: the queries as the task's examples; those with an `image` are pictures.

    Raises:
        NotFoundError: the folder, or its pictures or captions, do not exist.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder '{folder}'.")
    if any("image" in one for one in asked):
        texts = _texts(loaded, folder)
    if any("image" not in one for one in asked):
        pictures = _pictures(loaded, folder, report)
    found = []
    for query, one in zip(queries, asked, strict=True):
        if "image" in one:
            (names, embeddings), embedded = texts, _embed_images([query], loaded)
        else:
            (names, embeddings), embedded = pictures, _embed_texts([query], loaded)
        similarities = (embedded @ embeddings.T)[0]
        best = similarities.argsort()[::-1][:_MATCHES]
        matches = [{"match": names[i], "similarity": float(similarities[i])} for i in best]
        found.append({"query": query, "matches": matches})
    return found


def _texts(loaded: LoadedAdapter, folder: Path) -> tuple[list[str], np.ndarray]:
    """The captions and their embeddings, (captions, width)."""
    frames = captioned.read_folder(folder)
    if frames is None:
        raise NotFoundError(f"{folder} has no {captioned.METADATA[0]}, so no captions to rank for a picture.")
    texts = captioned.captions(frames, str(folder))
    return texts, _embed_texts(texts, loaded)


def _pictures(loaded: LoadedAdapter, folder: Path, report: Report) -> tuple[list[str], np.ndarray]:
    """The pictures' names and embeddings, (pictures, width)."""
    found = sorted(str(path) for path in folder.iterdir() if path.suffix.lower() in images.SUFFIXES)
    paths = captioned.readable(found, str(folder), report)
    if not paths:
        raise NotFoundError(f"{folder} holds no picture ({', '.join(images.SUFFIXES)}).")
    return [Path(path).name for path in paths], _embed_images(paths, loaded)


def _embed_images(paths: Sequence[str], loaded: LoadedAdapter) -> np.ndarray:
    processor = loaded.processor.image_processor
    parts = _split(paths, loaded.task.batch_tokens)
    batches = ({"pixel_values": normalised(cut(part, processor), processor)} for part in parts)
    return _embedded(loaded.model.get_image_features, batches)


def _embed_texts(texts: Sequence[str], loaded: LoadedAdapter) -> np.ndarray:
    encoded = list(tokens(texts, loaded.processor, loaded.max_length))
    batches = (padded(part, loaded.processor) for part in _split(encoded, loaded.task.batch_tokens))
    return _embedded(loaded.model.get_text_features, batches)


def _split(rows: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _embedded(features: Any, batches: Iterable[Mapping[str, Tensor]]) -> np.ndarray:
    """Embeddings of unit length, in fp32: (examples, width)."""
    import torch
    from torch.nn.functional import normalize

    place = next(features.__self__.parameters()).device
    with torch.inference_mode():
        found = [
            normalize(features(**{name: value.to(place) for name, value in batch.items()}).pooler_output)
            for batch in batches
        ]
    embeddings: np.ndarray = torch.cat(found).float().cpu().numpy()
    return embeddings
