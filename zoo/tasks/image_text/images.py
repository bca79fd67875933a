"""Opens pictures of any format as 8-bit RGB, or says why it cannot."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from zoo.errors import ZooError

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo.runtime.console import Report

Picture: TypeAlias = "str | bytes"
"""The path of a file, or its bytes."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_FULL_16_BITS = 65535


def open_image(picture: Picture) -> Image:
    """RGB, rotated by its EXIF orientation; the first frame of an animation.

    Transparent pixels become white. Sixteen bits are scaled to eight: Pillow's own conversion would clip all
    that is brighter than 255 of 65,535.

    Raises:
        OSError: it cannot be opened; the message says why.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        opened = Image.open(picture if isinstance(picture, str) else io.BytesIO(picture))
        opened.load()
        image = _eight_bits(ImageOps.exif_transpose(opened))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image.convert("RGB")
    except FileNotFoundError:
        raise OSError("there is no such file") from None
    except UnidentifiedImageError as error:
        raise OSError("Pillow does not know its format") from error
    except Exception as error:  # the decoders of thirty formats raise many kinds
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error


def made(seed: int) -> bytes:
    """A PNG of random colours, always the same for a seed: an input for comparing two models."""
    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((64, 64)).save(file, "png")
    return file.getvalue()


def look(pictures: Sequence[Picture], report: Report) -> list[tuple[str, str | None]]:
    """The SHA-256 of each picture's bytes, and why it cannot be used; each is decoded once to find out."""
    need_pillow()
    with (
        report.progress("opening pictures", len(pictures)) as progress,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        found = []
        for one in threads.map(_look, pictures):
            found.append(one)
            progress.advance()
    return found


def _look(picture: Picture) -> tuple[str, str | None]:
    try:
        content = Path(picture).read_bytes() if isinstance(picture, str) else picture
    except ValueError:  # a NUL in its name
        return "", "no file can have this name"
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return "", "there is no such file" if missing else (error.strerror or str(error))
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return digest, "it is empty"
    try:
        open_image(content)
    except OSError as error:
        return digest, str(error)
    return digest, None


def _eight_bits(image: Image) -> Image:
    """16-bit grey as 8-bit grey; other modes unchanged.

    Raises:
        ValueError: 32-bit pixels, whose range is unknown.
    """
    import numpy as np
    from PIL import Image

    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    pixels: Any = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > _FULL_16_BITS:
        raise ValueError(f"pixels of mode {image.mode}, whose range is unknown")
    return Image.fromarray(np.rint(pixels / (_FULL_16_BITS / 255)).astype(np.uint8))


def need_pillow() -> None:
    """Raises ZooError: it is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ZooError("pictures need Pillow, which is not installed.", "pip install pillow") from error
