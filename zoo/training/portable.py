"""Chooses kernels that give the same weights on every x86-64 processor with AVX2, and refuses what cannot."""

from __future__ import annotations

from typing import Any

from zoo.errors import UsageError
from zoo.plugins.method import Method
from zoo.registry.schema import AdapterSpec
from zoo.runtime import distributed
from zoo.runtime.device import PORTABLE, has_avx2, kernels, use_kernels


def choose_kernels(spec: AdapterSpec) -> None:
    """To be called before anything imports torch.

    Raises:
        UsageError: a setting whose result depends on the machine, or torch has been imported.
    """
    for asked, what, hint in (
        (spec.compile, "--compile, which uses every instruction", "without --compile"),
        (spec.precision == "bf16", "bf16, which few processors have", "--precision fp32"),
        (distributed.world_size() > 1, "several processes", "without --portable"),
    ):
        if asked:
            raise UsageError(f"--portable does not go with {what}.", hint)
    if not use_kernels(PORTABLE):
        raise UsageError(
            "--portable chooses how torch computes, and torch has been imported.",
            "set ATEN_CPU_CAPABILITY=avx2, ONEDNN_MAX_CPU_ISA=AVX2 and MKL_CBWR=COMPATIBLE before that",
        )


def check_method(method: Method, params: Any) -> None:
    """Raises UsageError: the method computes in a library that has kernels of its own."""
    if method.load_options(params):
        raise UsageError(
            f"{method.name} quantises the base with kernels that --portable cannot choose.",
            "without --portable",
        )


def check_kernels() -> None:
    """Raises UsageError: this processor does not have what was chosen."""
    if not has_avx2() or kernels() != PORTABLE:
        raise UsageError("--portable needs an x86-64 processor with AVX2.", "without --portable")
