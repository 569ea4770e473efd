"""Where a run keeps its data."""

import os
import tempfile
from pathlib import Path

IN_MEMORY = Path("/dev/shm")


def quick_folder(prefix: str) -> Path:
    """An empty folder, in memory where there is such a thing: what dies here is processes, not the power."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None))
