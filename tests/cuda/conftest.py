"""What holds for every test on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """Keep products float32, but where a test calls `machine.prepare`, as `trm-fit` does."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)
