"""The machine that a worker runs on: which device, which dtype, how many threads, and what its bytes depend on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from app.jobs.build import installed_version


class NoSuchDevice(Exception):
    """The device that was asked for is not in this machine; the text says what is."""


def available_cpus() -> int:
    """The CPUs that this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_device(wanted: str) -> torch.device:
    """The device of this name; auto is CUDA if there is one, else the CPU. Raises: NoSuchDevice."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    count = {"cuda": torch.cuda.device_count, "mps": torch.mps.device_count}.get(device.type, lambda: 1)()
    if (device.index or 0) >= count:
        have = f"{count} of kind {device.type}"
        raise NoSuchDevice(f"device must be one of this machine, which has {have}, got {wanted!r}")
    return device


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The dtype of this name; auto is float32 on a CPU, else bfloat16 where the device has it, else float16."""
    named = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if wanted != "auto":
        return named[wanted]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def fingerprint_of(device: torch.device, dtype: torch.dtype) -> str:
    """What the bytes of a picture depend on besides its recipe: device model, threads, both builds, dtype."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_facts()
    builds = f"torch {torch.__version__}; darkroom {installed_version()}"
    return f"{chip}; {builds}; {str(dtype).removeprefix('torch.')}"


def _cpu_facts() -> str:
    # Which instructions are used: a virtual machine may hide some that others of its kind have.
    return f"{_cpu_name()} x{torch.get_num_threads()} {torch.backends.cpu.get_cpu_capability()}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
