"""Which kernels of a CPU are asked for, before torch is imported and after it."""

from __future__ import annotations

import os
import platform
import sys

import pytest

from zoo.runtime import device

NAMES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "CUDA_VISIBLE_DEVICES")


@pytest.fixture
def before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: F401

    for name in (*NAMES, "MKL_ENABLE_INSTRUCTIONS"):
        monkeypatch.setenv(name, "")  # so that what is set below is taken back
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.usefixtures("before_torch")
@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (device.PORTABLE, ("avx2", "AVX2", None, "COMPATIBLE", "")),
        ("AVX2", ("avx2", "AVX2", None, None, "")),
        ("AVX512, MKL_CBWR=AUTO", (None, None, None, "AUTO", "")),
        ("DEFAULT, ONEDNN_MAX_CPU_ISA=SSE41", ("default", "SSE41", None, None, "")),
    ],
)
def test_recorded_kernels_are_asked_of_each_library_before_torch_is_imported(
    asked: str, wanted: tuple[str | None, ...]
) -> None:
    assert device.use_kernels(asked)
    assert tuple(map(os.environ.get, NAMES)) == wanted


@pytest.mark.usefixtures("before_torch")
def test_another_processor_is_asked_for_no_instructions_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert device.use_kernels("AVX2")
    assert "ATEN_CPU_CAPABILITY" not in os.environ


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({}, "AVX2"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "AVX2"),
        ({"DNNL_MAX_CPU_ISA": "SSE41"}, "AVX2, ONEDNN_MAX_CPU_ISA=SSE41"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}, device.PORTABLE),
    ],
)
def test_kernels_are_told_by_what_changes_sums(
    limits: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    assert device.kernels() == told
    assert device.use_kernels(told)
    assert not device.use_kernels("AVX512")
