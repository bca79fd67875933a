"""Probes what this machine can do: its device, precision, memory and processor."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.runtime.free_memory import Free

if TYPE_CHECKING:
    import torch

_MALLOC = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 64 << 20)}
"""Options of glibc's mallopt with their numbers (malloc.h): no mmap for large blocks, nothing given back."""
PRECISIONS = ("auto", "bf16", "fp32")
PORTABLE = "AVX2, MKL_CBWR=COMPATIBLE"
"""Kernels that give the same sums on every x86-64 processor with AVX2.

MKL has no AVX2 that is the same on processors of Intel and of others, only COMPATIBLE, which is SSE2.
"""
_LIMITS = {
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "DEFAULT": {"ATEN_CPU_CAPABILITY": "default"},
}
"""Instruction set -> the variables that keep torch, oneDNN and MKL from using a larger one."""


def device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16() -> bool:
    """Whether the hardware multiplies matrices in bf16; emulated bf16 is slower than fp32."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def choose_precision(asked: str) -> str:
    """`auto` -> `bf16` where the hardware has it, else `fp32`.

    Raises:
        UsageError: an unknown precision, or bf16 on hardware without it.
    """
    if asked not in PRECISIONS:
        raise UsageError(f"precision '{asked}' is not one of {', '.join(PRECISIONS)}.", "--precision auto")
    if asked == "bf16" and not has_bf16():
        raise UsageError(
            "this machine has no bf16 arithmetic (no AMX, AVX512-BF16 or CUDA bf16).", "--precision auto"
        )
    if asked == "auto":
        return "bf16" if has_bf16() else "fp32"
    return asked


def thread_count() -> int:
    """How many threads the CPU's arithmetic takes."""
    import torch

    return int(torch.get_num_threads())


@contextmanager
def use_threads(number: int) -> Iterator[None]:
    """Compute with that many inside: sums in another number of parts round otherwise."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def kernels() -> str:
    """What decides how sums are rounded here: the GPU, or the instruction set and what limits MKL and oneDNN.

    `AVX2`; `AVX2, MKL_CBWR=COMPATIBLE`. A limit of oneDNN that says the same as the rest is left out.
    """
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    capability = str(torch.backends.cpu.get_cpu_capability())
    limits = {
        "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA"),
        "MKL_CBWR": os.environ.get("MKL_CBWR"),
    }
    told = (f"{name}={value}" for name, value in limits.items() if value and value != capability)
    return ", ".join([capability, *told])


def use_kernels(asked: str) -> bool:
    """Have this process compute with these kernels of a CPU; are they what it will compute with?

    torch, oneDNN and MKL read variables of the environment when they are loaded, and so they are set before.
    A processor that lacks the instructions is not told here: `kernels` says what it has come to.

    Args:
        asked: what `kernels` returned, here or elsewhere.
    """
    if "torch" in sys.modules:
        return kernels() == asked
    capability, *limits = asked.split(", ")
    if capability in _LIMITS and platform.machine() in ("x86_64", "AMD64"):
        os.environ.update(_LIMITS[capability])
    os.environ.update(dict(one.split("=", 1) for one in limits))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return True


def has_avx2() -> bool:
    import torch

    probes = ("_is_avx2_supported", "_is_cpu_support_avx2")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def peak_memory() -> int:
    """Peak memory in bytes: allocated on the GPU, or the resident set of the process on a CPU."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_on_gpu() -> Free | None:
    """Memory of the GPU that nobody has taken; None without one."""
    import torch

    return Free(torch.cuda.mem_get_info()[0], "the GPU") if torch.cuda.is_available() else None


def describe() -> str:
    """The device as text: `AMD EPYC, 2 threads` or `NVIDIA H200`."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """The processor's name as the system gives it, without torch."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def keep_memory() -> None:
    """Keep freed memory in the process for the next step instead of returning it to the system.

    A step frees and asks for the same large tensors, and on a CPU first touching fresh pages can cost more
    than the arithmetic on them. Only glibc knows the setting; elsewhere this does nothing.
    """
    import ctypes

    if device().type != "cpu" or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC.values():
            mallopt(option, value)
