"""Several processes that train one model: ``torchrun -m trm_sdk.training.fit``.

Plain data parallelism, without a wrapper around the model: gradients are added up once an optimiser
step, as one vector. The network is small (20 MB of gradients at 5M parameters) and its weights are
used dozens of times a step, so that overlapping communication with the backward pass, which is what
``DistributedDataParallel`` adds, would hide little, and it would forbid compiling as we do.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from trm_sdk.errors import ConfigError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store


class World:
    """The processes of a run. Without torchrun there is one, and everything is the identity.

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size = rank, size
        self.device = device or torch.device("cpu")
        self._last: dist.Work | None = None

    @classmethod
    def join(cls, device: torch.device) -> World:
        """Join the processes that torchrun has started; nccl between GPUs, gloo between CPUs."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        store, rank, size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore(common_name(store, rank, size), store),  # type: ignore[attr-defined]
            rank=rank,
            world_size=size,
        )
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def leave(self) -> None:
        """Close the connections."""
        if self.size > 1:
            dist.destroy_process_group()

    def end(self) -> None:
        """End this process, if it is one of several: a run is over, and all it made is written.

        gloo's threads let go of the last collective a moment after waking us, later still where the
        cores are busy. Where theirs is the last hold, its tensors are freed there; and a process
        whose interpreter is being closed meanwhile aborts, for a thread can't have its lock any
        more. So it is not closed.
        """
        if self.size > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def _wait(self, work: dist.Work | None) -> None:
        """Wait for a collective, and hold on to it until the next one; see `end`."""
        assert work is not None  # this process is one of the group
        work.wait()
        self._last = work

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def rows(self, n: int) -> slice:
        """Return this process's part of n rows.

        Raises
        ------
        ConfigError
            If n is no multiple of the number of processes.
        """
        if n % self.size:
            raise ConfigError(f"batch_size {n} is not a multiple of {self.size} processes")
        share = n // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, mine: Tensor) -> Tensor:
        """Return all rows, in order, from every process's own (equally many)."""
        if self.size == 1:
            return mine
        # Neither nccl nor gloo gathers into tensors that are laid out in another order.
        mine = mine.contiguous()
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        self._wait(dist.all_gather(parts, mine, async_op=True))
        return torch.cat(parts)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            values = values.clone()
            self._wait(dist.all_reduce(values, async_op=True))
        return values

    def agree(self, elapsed: float, stop: bool) -> tuple[float, bool]:
        """Return the first process's clock, and whether any process was asked to stop."""
        if self.size == 1:
            return elapsed, stop
        mine = [elapsed if self.first else 0.0, float(stop)]
        clock, stops = self.sum(
            torch.tensor(mine, dtype=torch.float64, device=self.device)
        ).tolist()
        return clock, stops > 0

    def _sum_sparse(self, mine: Tensor) -> Tensor:
        """The sum of all processes' sparse gradients of one table: rows travel, not the table."""
        mine = mine.coalesce()
        rows, values = mine.indices()[0], mine.values()
        count = torch.tensor([len(rows)], device=rows.device)
        counts = self.gather(count).tolist()
        short = max(counts) - len(rows)  # as many rows from everyone: zeros change no sum
        rows = torch.cat((rows, rows.new_zeros(short)))
        values = torch.cat((values, values.new_zeros(short, *values.shape[1:])))
        real = [
            torch.arange(count, device=rows.device) + number * max(counts)
            for number, count in enumerate(counts)
        ]
        kept = torch.cat(real)
        indices = self.gather(rows)[kept][None]
        return torch.sparse_coo_tensor(indices, self.gather(values)[kept], mine.shape)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients of all processes, in place: dense ones as one vector."""
        if self.size == 1:
            return
        gradients = []
        for p in parameters:
            if p.grad is not None and p.grad.is_sparse:
                p.grad = self._sum_sparse(p.grad)
            elif p.grad is not None:
                gradients.append(p.grad)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._wait(dist.all_reduce(flat, async_op=True))
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def common_name(store: Store, rank: int, size: int) -> str:
    """Return a name that these processes share, and that none had before them.

    torchrun hands the same store to the processes that it starts again, with the addresses of the
    killed ones still in it; whoever reads those connects to nothing, or waits for ever. Behind a
    new name nothing old is found. The number of restarts would not do: machines count their own.

    The first process makes up the name. Every other one makes up a name for itself too, and is
    answered under it, so that no answer to an earlier process is taken for its own.
    """
    mine = uuid.uuid4().hex
    if rank:
        store.set(f"here/{rank}", mine)
        name = store.get(f"name/{mine}").decode()
        store.set(f"taken/{name}/{rank}", "")
        return name
    missing = set(range(1, size))
    while missing:
        for other in sorted(missing):
            # May still be the name of a process that is gone: then it is asked for again.
            store.set(f"name/{store.get(f'here/{other}').decode()}", mine)
            if store.check([f"taken/{mine}/{other}"]):
                missing.remove(other)
        time.sleep(0.01)
    return mine
