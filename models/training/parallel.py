"""One run in several processes, one a GPU, started by `torchrun`: each has its share of every batch.

Every process holds all the weights and takes the same step, by the mean of all gradients (synchronous data
parallelism; Goyal et al. 2017). Their starts are equal because networks follow from the seed or a checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors


@dataclass(frozen=True, slots=True)
class Group:
    """Which of the run's processes this is: 0 writes files and reports; a run in one process is a group of one."""

    rank: int = 0
    size: int = 1

    def share(self, batch_size: int) -> int:
        """How many rows of a batch are this process's. Raises: ValueError unless all have as many."""
        if batch_size % self.size:
            raise ValueError(f"batch_size must be a multiple of the {self.size} processes, got {batch_size}")
        return batch_size // self.size

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0


ALONE = Group()


@contextmanager
def joined_group(device: torch.device) -> Iterator[tuple[Group, torch.device]]:
    """The group that torchrun's environment names, and the device of this process; a group of one without torchrun."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()


def average_gradients(network: nn.Module, group: Group) -> None:
    """Replaces every gradient by its mean over the group."""
    if group.size == 1:
        return
    gradients: list[Tensor] = [own.grad for own in network.parameters() if own.grad is not None]
    # one message instead of hundreds
    flat = _flatten_dense_tensors(gradients)  # type: ignore[no-untyped-call]
    dist.all_reduce(flat)
    flat /= group.size
    means = _unflatten_dense_tensors(flat, gradients)  # type: ignore[no-untyped-call]
    torch._foreach_copy_(gradients, list(means))


def wait_for_all(group: Group) -> None:
    """Until every process of the group has come here."""
    if group.size > 1:
        dist.barrier()
