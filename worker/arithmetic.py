"""Arithmetic that is the same in every worker of a build on a kind of device."""

from __future__ import annotations

import os

import torch


def pin() -> None:
    """Let no library choose its algorithms by trying them out, or take any whose sums come in no certain order."""
    # cuBLAS reads it when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
