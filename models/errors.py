"""What can go wrong in this library.

ModelError                  the root: catch this to catch all
├── CheckpointError         a folder or file is not a model that can be loaded; says which key, and why
├── RequestError            what was asked for is not what the model can do; says which field, and what is allowed
└── NonFinite               a latent or picture became NaN or infinite; says in which row
"""

from __future__ import annotations


class ModelError(Exception):
    """The root of this library's errors."""


class CheckpointError(ModelError):
    """A folder or file is not a model that can be loaded."""


class RequestError(ModelError, ValueError):
    """What was asked for is not what the model can do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class NonFinite(ModelError, ArithmeticError):
    """A latent or picture became NaN or infinite."""

    def __init__(self, row: int, step: int) -> None:
        super().__init__(f"image {row} became NaN or infinite at step {step}")
        self.row, self.step = row, step
