"""What a process says about itself: one line an event on stderr, for people on a terminal, else as JSON."""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure_logging(level: str) -> None:
    """Render our events from `level` on, and what libraries warn of, in one shape.

    Called once, by whoever owns the process; a library that imports this package configures nothing.
    """
    is_terminal = sys.stderr.isatty()
    describe: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.set_exc_info if is_terminal else structlog.processors.format_exc_info,
    ]
    render: Processor = structlog.processors.JSONRenderer()
    if is_terminal:
        # Others show every local variable, which takes seconds and may be somebody's secret.
        render = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*describe, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=describe,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
