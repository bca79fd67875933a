"""Safetensors headers, honest and hostile."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from zoo.errors import IncompatibleError, NotFoundError
from zoo.models.safetensors_header import check_finite, digests, metadata, read_header

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)
    return path


def test_a_header_says_names_kinds_shapes_and_places(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": np.zeros((3, 2), np.float32), "y": np.zeros(4, np.float16)}, path, {"format": "pt"})
    found = read_header(path)
    assert {name: (one.dtype, one.shape) for name, one in found.items()} == {
        "x": ("F32", (3, 2)),
        "y": ("F16", (4,)),
    }
    assert sorted(one.end - one.start for one in found.values()) == [8, 24]
    assert max(one.end for one in found.values()) == path.stat().st_size
    assert metadata(path) == {"format": "pt"}


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        (b"{not json", b"", "its header is not JSON"),
        (b"\xff\xfe\xff", b"", "its header is not JSON"),
        (b"[" * 100_000, b"", "its header is not JSON"),
        (b'{"a":' + b"9" * 5_000 + b"}", b"", "its header is not JSON"),
        (b'{"a": {}, "a": {}}', b"", "has a twice"),
        ([1, 2], b"", "no JSON object"),
        ({"a": 3}, b"", "is damaged: invalid JSON in header"),
        ({"a": {**ONE, "code": "x"}}, bytes(8), "of a"),
        ({"a": {**ONE, "dtype": "PICKLE"}}, bytes(8), "unknown variant `PICKLE`"),
        ({"a": {**ONE, "shape": [3]}}, bytes(8), "invalid shape, data type, or offset"),
        ({"a": {**ONE, "shape": [-2]}}, bytes(8), "expected usize"),
        ({"a": {**ONE, "shape": [True, 2]}}, bytes(8), "expected usize"),
        ({"a": {**ONE, "shape": [1 << 70]}}, bytes(8), "expected usize"),
        ({"a": {**ONE, "data_offsets": [8, 0]}}, bytes(8), "invalid offset"),
        ({"a": ONE, "b": ONE}, bytes(8), "invalid offset for tensor"),
        ({"a": ONE, "b": {**ONE, "data_offsets": [16, 24]}}, bytes(24), "invalid offset for tensor `b`"),
        ({"a": ONE}, bytes(7), "cut short"),
        ({"a": ONE}, bytes(9), "behind its last tensor"),
        ({"a": ONE, "__metadata__": {"n": 1}}, bytes(8), "expected a string"),
        ({"\x1b[2J": {**ONE, "data_offsets": [4, 12]}}, bytes(12), r"\x1b[2J"),
    ],
)
def test_a_dishonest_header_is_refused_for_what_is_wrong_with_it(
    header: Any, data: bytes, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(IncompatibleError) as caught:
        read_header(path)
    assert said in str(caught.value)
    assert "bad.safetensors" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(60), "pickled"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "pickled"),
        (b"", "is empty"),
        (b"abc", "is not a safetensors file"),
        (b"<!doctype html><html><body>404</body></html>", "is not a safetensors file"),
        (struct.pack("<Q", 500) + b'{"a":', "cut short within its header"),
        (struct.pack("<Q", 1 << 62) + b"{}", "cut short within its header"),
    ],
)
def test_what_is_no_safetensors_file_is_named_for_what_it_is(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for read in (read_header, metadata, check_finite, digests):
        with pytest.raises(IncompatibleError, match=said):
            read(path)


def test_a_header_of_66_megabytes_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 66_000_000))
        file.truncate(66_000_008)
    started = time.perf_counter()
    with pytest.raises(IncompatibleError, match="a header of 66,000,000 bytes"):
        read_header(path)
    assert time.perf_counter() - started < 0.1


def test_more_than_ten_thousand_tensors_are_refused(tmp_path: Path) -> None:
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    path = write(tmp_path / "many.safetensors", {f"{at}": empty for at in range(10_001)})
    with pytest.raises(IncompatibleError, match="10,001 tensors"):
        read_header(path)
    path = write(tmp_path / "few.safetensors", {f"{at}": empty for at in range(10_000)})
    assert len(read_header(path)) == 10_000


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.safetensors"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(NotFoundError):
        digests(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "finite", "bad"),
    [
        ("F64", struct.pack("<d", 1.5), struct.pack("<d", float("nan"))),
        ("F32", struct.pack("<f", 1.5), struct.pack("<f", float("inf"))),
        ("F16", struct.pack("<e", 65504), struct.pack("<e", float("-inf"))),
        ("BF16", b"\x7f\x7f", b"\xc0\x7f"),
        ("F8_E4M3", b"\x7e", b"\xff"),
        ("F8_E5M2", b"\x7b", b"\x7c"),
        ("F8_E4M3FNUZ", b"\x7f", b"\x80"),
        ("F8_E5M2FNUZ", b"\xff", b"\x80"),
        ("F8_E8M0", b"\x7f", b"\xff"),
        ("C64", struct.pack("<ff", 1, 2), struct.pack("<ff", 1, float("nan"))),
    ],
)
def test_numbers_that_are_not_finite_are_found_in_every_kind_of_float(
    dtype: str, finite: bytes, bad: bytes, tmp_path: Path
) -> None:
    def tensors(content: bytes) -> Path:
        size = len(content)
        header = {
            "whole": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
            "w": {"dtype": dtype, "shape": [size // len(finite)], "data_offsets": [3, 3 + size]},
        }
        return write(tmp_path / f"{dtype}.safetensors", header, b"\xff\xff\xff" + content)

    check_finite(tensors(finite * 5))
    with pytest.raises(IncompatibleError, match="in the tensor w"):
        check_finite(tensors(finite * 4 + bad))


def test_digests_follow_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    one = np.arange(6, dtype=np.float32)
    save_file({"a": one, "b": one + 1}, tmp_path / "first.safetensors")
    save_file({"b": one + 1, "c": one, "a": one}, tmp_path / "second.safetensors")
    first, second = (digests(tmp_path / f"{name}.safetensors") for name in ("first", "second"))
    assert first["a"] == second["a"] == second["c"]
    assert first["b"] == second["b"] != first["a"]
