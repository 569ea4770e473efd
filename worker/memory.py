"""How much memory there is, and how much of it a worker has taken: without asking the device, for a beat must not wait
for one that hangs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# What the kernel holds a container to, in either of its ways to say so.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def memory_of(device: str) -> Mapping[str, int]:
    """What the worker says of its memory: a GPU's as far as torch has reserved it, else this process's own."""
    if device.startswith("cuda"):
        import torch

        total = torch.cuda.get_device_properties(device).total_memory
        return {"memory_bytes": torch.cuda.memory_reserved(device), "memory_total_bytes": total}
    # Not every system has these files.
    with suppress(OSError, ValueError):
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return {"memory_bytes": resident * _PAGE_BYTES, "memory_total_bytes": _memory_of_cpu()}
    return {}


def budget_of(wanted: float, device: str) -> int:
    """Bytes for the weights of models: `wanted` itself, or up to 1, that share of the device's memory."""
    if wanted > 1:
        return int(wanted)
    if device.startswith("cuda"):
        import torch

        return int(wanted * torch.cuda.get_device_properties(device).total_memory)
    return int(wanted * _memory_of_cpu())


def _memory_of_cpu() -> int:
    """What the machine has, or this container may have of it."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    for path in _LIMITS:
        # Not in a container, it says so in words, or in a number beyond all machines.
        with suppress(OSError, ValueError):
            total = min(total, int(Path(path).read_text(encoding="ascii")))
    return total
