"""How much memory a worker has taken, without asking the device: a beat must not wait for one that hangs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

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
        total = os.sysconf("SC_PHYS_PAGES")
        return {"memory_bytes": resident * _PAGE_BYTES, "memory_total_bytes": total * _PAGE_BYTES}
    return {}
