"""What the machine can do, and how it is set up for training."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Callable

import torch

from trm_sdk.messages import first_line

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep large blocks that are freed, for the next activations of the same size.

    By default it returns them to the system, which hands them back as zeroed pages, one fault
    every 4 KiB. Writing a fresh 64 MB activation then takes as long as the product that fills it:
    measured, the token mixer of the paper's 5M MLP-T is 2 times slower in float32, and 6 in
    bfloat16.

    Returns
    -------
    bool
        False where there is no glibc, and nothing was done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def prepare(device: torch.device) -> None:
    """Apply the settings that training wants: TF32 on a GPU, kept memory on a CPU."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    else:
        keep_freed_memory()


def why_not_compile(device: torch.device) -> str | None:
    """Return what keeps ``torch.compile`` from working here, in a few words; None where it works.

    Found out by compiling the least there is, a second or two: what is missing may be a compiler,
    its headers or Python's, or a folder to write to.
    """
    try:
        if device.type == "cpu":
            from torch._inductor.cpp_builder import get_cpp_compiler

            get_cpp_compiler()  # says in one exception of its own that there is none
        torch.compile(_some_arithmetic, fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:  # whatever compilers, drivers and file systems raise
        if type(error).__name__ == "InvalidCxxCompiler":
            return "no C++ compiler is found; install g++, or name one in CXX"
        if "Python.h" in str(error):
            return "Python's headers are not found; install python3-dev or its like"
        return f"torch.compile fails here: {first_line(error)}"
    return None


def _some_arithmetic(values: torch.Tensor) -> torch.Tensor:
    return values * 2 + 1


def matmul_peak(
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    seconds: float = 0.3,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the most floating-point operations a second that a square matrix product reaches here.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
    seconds : float
        Time to spend on each of three sizes.
    clock : callable
        What time is: by default the time on the wall.

    Returns
    -------
    float
        Operations (2 n^3 a product) a second; the best run of the best size.
    """
    best = 0.0
    for size in (4096, 8192, 16384) if device.type == "cuda" else (512, 1024, 2048):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        out = a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # or the first run's time would have this one's in it
        fastest, end = math.inf, clock() + seconds
        while clock() < end:
            started = clock()
            torch.mm(a, b, out=out)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            fastest = min(fastest, clock() - started)
        best = max(best, 2 * size**3 / fastest)
    return best
