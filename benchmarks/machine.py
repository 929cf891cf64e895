"""What a figure was measured on, which goes with every result; and processor time."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

#: Instruction sets worth naming, from old to new.
SIMD = ("avx2", "avx512f", "avx512_vnni", "amx_bf16")


def describe(threads: int | None = None) -> dict[str, Any]:
    """Return processor, cores, threads used, Python, and the versions that matter."""
    cpu = platform.processor() or platform.machine()
    flags = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        text = info.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                cpu = value.strip()
            elif key.strip() == "flags":
                flags = value
                break
    simd = [name for name in SIMD if name in flags.split()]
    installed = {one.name: one.version for one in distributions()}
    versions = {
        name: installed[name]
        for name in ("trm-sdk", "numpy", "onnxruntime", "torch")
        if name in installed
    }
    return {
        "cpu": cpu,
        "simd": simd,
        "cores": os.cpu_count(),
        "threads": threads or os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def sentence(machine: dict[str, Any]) -> str:
    """Return what `describe` found as one line for a table's caption."""
    simd = machine["simd"][-1] if machine["simd"] else "no SIMD found"
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"{machine['cpu']}, {machine['cores']} cores ({simd}), {threads}, "
        f"Python {machine['python']}"
    )


def microseconds(call: Callable[[], Any], puzzles: int, rounds: int = 3) -> float:
    """Return the processor time per puzzle: the best of some rounds after one to warm up."""
    call()
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return 1e6 * best / puzzles
