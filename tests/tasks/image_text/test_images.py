"""Pictures of every kind become RGB, and those that cannot are named (zoo/pictures)."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.errors import DataError
from zoo.plugins.manager import load_task
from zoo.runtime.console import Report
from zoo.tasks.image_text.images import look, open_image
from zoo.tasks.image_text.pixels import normalised, prepare


def saved(image: Image.Image, form: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pixel(content: bytes) -> tuple[int, ...]:
    image = open_image(content)
    assert image.mode == "RGB"
    found = image.getpixel((1, 1))
    assert isinstance(found, tuple)
    return found


def noise(side: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def image_processor(tiny_models: dict[str, Path]) -> Any:
    return load_task("clip-retrieval").load_processor(tiny_models["clip"]).image_processor


def test_a_cmyk_picture_has_its_colours() -> None:
    content = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "jpeg", quality=100)
    red, green, blue = pixel(content)
    assert red > 230
    assert green < 30
    assert blue < 30


def test_a_palette_picture_has_its_colours() -> None:
    content = saved(Image.new("RGB", (8, 8), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE))
    assert pixel(content) == (10, 200, 30)


def test_sixteen_bits_are_scaled_to_eight_and_not_cut_off() -> None:
    content = saved(Image.fromarray(np.full((8, 8), 32896, dtype=np.uint16)))
    assert Image.open(io.BytesIO(content)).mode.startswith("I")
    assert pixel(content) == (128, 128, 128)


def test_what_is_transparent_becomes_white() -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert pixel(saved(image)) == (255, 255, 255)
    assert pixel(saved(image.convert("P"), transparency=0)) == (255, 255, 255)


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert pixel(saved(frames[0], "gif", save_all=True, append_images=frames[1:])) == (255, 0, 0)


def test_a_picture_lying_on_its_side_is_put_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(saved(Image.new("RGB", (8, 4)), "jpeg", exif=exif)).size == (4, 8)


def test_pixels_whose_range_nothing_tells_are_refused() -> None:
    with pytest.raises(OSError, match="mode F, whose range is unknown"):
        open_image(saved(Image.new("F", (8, 8), 0.5), "tiff"))


def test_each_trouble_is_said_in_words(tmp_path: Path) -> None:
    whole = saved(noise())
    (tmp_path / "good.png").write_bytes(whole)
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.png").touch()
    names = ("good", "cut", "text", "empty", "missing")
    found = look([str(tmp_path / f"{name}.png") for name in names], Report())
    troubles = dict(zip(names, (trouble for _, trouble in found), strict=True))
    assert troubles["good"] is None
    assert found[0][0] == hashlib.sha256(whole).hexdigest()
    assert "truncated" in str(troubles["cut"])
    assert troubles["text"] == "Pillow does not know its format"
    assert troubles["empty"] == "it is empty"
    assert troubles["missing"] == "there is no such file"


def test_a_picture_too_large_to_be_meant_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    ((_, trouble),) = look([saved(noise())], Report())
    assert "decompression bomb" in str(trouble)


def test_prepared_and_normalised_pictures_are_what_the_processor_makes(image_processor: Any) -> None:
    contents = {str(seed): saved(noise(40 + seed)) for seed in range(3)}
    pixels = prepare(contents, image_processor)
    assert pixels.dtype == np.uint8
    whole = image_processor(images=[open_image(one) for one in contents.values()], return_tensors="pt")
    assert (normalised(pixels, image_processor) - whole["pixel_values"]).abs().max() < 1e-5


def test_a_picture_is_decoded_once_and_then_read_from_the_cache(image_processor: Any, cache: Path) -> None:
    mapped = prepare({"digest": saved(noise())}, image_processor)
    assert isinstance(mapped, np.memmap)
    first = np.array(mapped)
    again = prepare({"digest": b"what is no longer a picture"}, image_processor)
    assert np.array_equal(first, again)
    (kept,) = (cache / "pixels").iterdir()
    kept.write_bytes(b"damaged")
    assert np.array_equal(first, prepare({"digest": saved(noise())}, image_processor))


def test_other_settings_of_the_processor_are_other_pictures(image_processor: Any) -> None:
    content = {"digest": saved(noise())}
    first = prepare(content, image_processor)
    image_processor.resample = 0
    assert not np.array_equal(first, prepare(content, image_processor))


def test_without_a_cache_folder_pictures_are_prepared_all_the_same(
    image_processor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    assert prepare({"digest": saved(noise())}, image_processor).shape == (1, 3, 32, 32)


def test_a_strict_report_makes_an_error_of_rows_that_are_left_out() -> None:
    Report().left_out("2 pictures cannot be opened.")
    with pytest.raises(DataError, match="2 pictures cannot be opened") as caught:
        Report(strict=True).left_out("2 pictures cannot be opened.")
    assert "--strict" in str(caught.value.hint)
