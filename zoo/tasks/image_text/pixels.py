"""Caches pictures on disk as resized and cropped by a model's image processor.

A picture of 224 pixels takes 600 kB in float32 and 150 kB in bytes; mapped from a file it takes only memory
that is free. Rescaling and normalising are done per batch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IncompatibleError
from zoo.runtime import cache
from zoo.tasks.image_text.images import Picture, open_image

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MOST_BYTES = 4 << 30
"""Limit of the whole cache; the least recently used files go first."""


def prepare(pictures: Mapping[str, Picture], image_processor: Any) -> np.ndarray:
    """The pictures as uint8 of shape (pictures, channels, height, width), in the given order.

    Raises:
        IncompatibleError: the processor gives pictures of several sizes.
    """
    import numpy as np

    mapped = partial(np.load, mmap_mode="r")
    parent = cache.folder("pixels")
    path = parent / f"{_key(list(pictures), image_processor)}.npy" if parent else None
    kept: np.ndarray | None = cache.read(path, mapped) if path else None
    if kept is not None and len(kept) == len(pictures):
        return kept
    made = cut(list(pictures.values()), image_processor)
    if path is not None:
        cache.write(path, lambda beside: _save(made, beside), MOST_BYTES)
        kept = cache.read(path, mapped)
    return made if kept is None else kept


def cut(pictures: Sequence[Picture], image_processor: Any) -> np.ndarray:
    """As `prepare`, without the cache."""
    import numpy as np

    def cut_one(picture: Picture) -> np.ndarray:
        made = image_processor(images=[open_image(picture)], do_rescale=False, do_normalize=False)
        return np.asarray(made["pixel_values"][0])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(cut_one, pictures))
    sizes = {one.shape for one in found}
    if len(sizes) > 1:
        raise IncompatibleError(f"the base's image processor gives pictures of {len(sizes)} sizes.")
    return np.stack(found)


def normalised(pixels: Iterable[np.ndarray], image_processor: Any) -> Tensor:
    """A float32 batch, rescaled and normalised as the whole image processor would."""
    import numpy as np
    import torch

    batch = torch.from_numpy(np.stack(list(pixels))).float()
    if image_processor.do_rescale:
        batch *= image_processor.rescale_factor
    if image_processor.do_normalize:
        mean, deviation = (
            torch.tensor(one).view(1, -1, 1, 1)
            for one in (image_processor.image_mean, image_processor.image_std)
        )
        batch = (batch - mean) / deviation
    return batch


def _key(digests: Sequence[str], image_processor: Any) -> str:
    settings = json.dumps(image_processor.to_dict(), sort_keys=True, default=str)
    code = hashlib.sha256(Path(open_image.__code__.co_filename).read_bytes()).hexdigest()
    parts = (settings, type(image_processor).__name__, code, version("transformers"), version("pillow"))
    return hashlib.sha256("\n".join((*parts, *digests)).encode()).hexdigest()


def _save(pixels: np.ndarray, path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:  # given a name, numpy would add its own suffix
        np.save(file, pixels)
