"""`.bin` to safetensors in a process of its own: real pickles, honest and hostile."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import IncompatibleError, NotFoundError
from zoo.models.safetensors_header import metadata, read_header
from zoo.security.convert_bin import convert

CANARY = "hf_" + "canary0" * 5


def tensors() -> dict[str, Any]:
    import torch

    return {
        "base_model.model.a.lora_A.weight": torch.randn(4, 16),
        "base_model.model.a.lora_B.weight": torch.randn(16, 4).to(torch.bfloat16),
    }


def save(path: Path, value: Any, **options: Any) -> Path:
    import torch

    torch.save(value, path, **options)
    return path


def refused(path: Path, out: Path) -> str:
    with pytest.raises(IncompatibleError) as caught:
        convert(path, out)
    assert not out.exists()
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


class Runs:
    """Unpickling calls `os.system`: what every hostile `.bin` does."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("legacy", [False, True])
def test_the_tensors_come_out_bit_for_bit(tmp_path: Path, legacy: bool) -> None:
    import torch
    from safetensors.torch import load_file

    wanted = OrderedDict(tensors())
    options = {"_use_new_zipfile_serialization": False} if legacy else {}
    path, out = save(tmp_path / "adapter_model.bin", wanted, **options), tmp_path / "out.safetensors"
    convert(path, out)
    found = load_file(out)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert metadata(out) == {"format": "pt"}


def test_tensors_that_share_their_numbers_become_two(tmp_path: Path) -> None:
    one = tensors()["base_model.model.a.lora_A.weight"]
    path, out = save(tmp_path / "tied.bin", {"a": one, "b": one, "c": one.t()}), tmp_path / "out.safetensors"
    convert(path, out)
    assert {name: info.shape for name, info in read_header(out).items()} == {
        "a": (4, 16),
        "b": (4, 16),
        "c": (16, 4),
    }


@pytest.mark.parametrize("raw", [False, True])
def test_a_pickle_that_runs_a_command_is_refused_with_its_name_and_runs_nothing(
    tmp_path: Path, raw: bool
) -> None:
    trace = tmp_path / "ran"
    hostile = {"a": Runs(f"touch {trace}")}
    path = tmp_path / "adapter_model.bin"
    if raw:
        path.write_bytes(pickle.dumps(hostile))
    else:
        save(path, hostile)
    assert "it would run" in refused(path, tmp_path / "out.safetensors")
    assert not trace.exists()


def test_what_is_no_flat_dictionary_of_tensors_is_refused_for_what_it_is(tmp_path: Path) -> None:
    one = tensors()["base_model.model.a.lora_A.weight"]
    out = tmp_path / "out.safetensors"
    assert "Tensor" in refused(save(tmp_path / "tensor.bin", one), out)
    assert "'state' is no plain tensor but a dict" in refused(
        save(tmp_path / "x.bin", {"state": {"a": one}}), out
    )
    assert "no text but a int" in refused(save(tmp_path / "number.bin", {1: one}), out)


def test_tensors_that_claim_more_numbers_than_the_file_has_take_no_memory(tmp_path: Path) -> None:
    import torch

    bomb = {"a": torch.zeros(1).expand(1 << 40)}
    assert "more numbers than the file" in refused(
        save(tmp_path / "x.bin", bomb), tmp_path / "out.safetensors"
    )


def test_a_file_that_unpacks_to_more_than_its_limit_is_stopped(tmp_path: Path) -> None:
    """Torch stores numbers plainly, but reads them packed too: a gigabyte of zeros in five megabytes."""
    import torch

    plain = io.BytesIO()
    torch.save({"a": torch.zeros(4)}, plain)
    path = tmp_path / "bomb.bin"
    count = 1 << 28
    with (
        zipfile.ZipFile(plain) as whole,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
    ):
        for entry in whole.infolist():
            content = whole.read(entry)
            if entry.filename.endswith("data.pkl"):
                content = content.replace(b"K\x04", b"J" + count.to_bytes(4, "little"))
            if not entry.filename.endswith("data/0"):
                packed.writestr(entry.filename, content)
                continue
            with packed.open(entry.filename, "w", force_zip64=True) as stream:
                for _ in range(64):
                    stream.write(bytes(1 << 24))
    assert path.stat().st_size < 1 << 23
    assert "more memory" in refused(path, tmp_path / "out.safetensors")


def test_a_pointer_a_cut_off_file_and_no_file_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    pointer = tmp_path / "pointer.bin"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", encoding="utf-8")
    assert "Git LFS pointer" in refused(pointer, out)
    whole = save(tmp_path / "whole.bin", tensors()).read_bytes()
    (tmp_path / "cut.bin").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refused(tmp_path / "cut.bin", out)
    with pytest.raises(NotFoundError):
        convert(tmp_path / "none.bin", out)


def test_numbers_that_are_not_finite_are_refused_by_the_tensor(tmp_path: Path) -> None:
    import torch

    hostile = {**tensors(), "b": torch.tensor([1.0, float("nan")])}
    with pytest.raises(IncompatibleError, match="infinity in the tensor b"):
        convert(save(tmp_path / "x.bin", hostile), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_module_that_lies_beside_the_file_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("open('ran', 'w')", encoding="utf-8")
    convert(save(tmp_path / "x.bin", tensors()), tmp_path / "out.safetensors")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_asks_for_a_text_of_exabytes_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.bin"
    path.write_bytes(b"\x80\x04\x96" + (1 << 62).to_bytes(8, "little"))
    assert "damaged" in refused(path, tmp_path / "out.safetensors")
