"""`python -m worker`: load the models, warm them, and work until told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import structlog

from app.jobs.failures import SettingsError
from app.jobs.settings import Settings, load_settings
from app.jobs.storage import open_storage
from app.jobs.store import open_store
from worker.herd import EXIT_REFUSED, BadDevices, Herd, count_gpus, devices_of

if TYPE_CHECKING:
    from worker.crew import Studio


def main() -> int:
    """Work as the environment says; 0 after a stop that was asked for, 2 if there is nothing to work with."""
    parser = argparse.ArgumentParser("darkroom-worker", description="Develop what is queued, until told to stop.")
    parser.add_argument("--devices", help="auto (every GPU), or a list such as cuda:0,cuda:1: a process for each")
    words = parser.parse_args().devices
    try:
        devices = [] if words is None else devices_of(words, count_gpus)
        settings = load_settings(device=devices[0] if devices else None)
    except (SettingsError, BadDevices) as error:
        return refuse(error)
    configure_logging(settings.log_level)
    if len(devices) > 1:
        return Herd(devices, [sys.executable, "-m", "worker"], os.environ).keep()
    # Until there is a consumer, there is nothing to finish first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    # Brings torch, which takes seconds: not before the settings are known to make sense.
    from worker import machine, studio

    try:
        opened = studio.Studio.open(settings)
    except (studio.NothingToServe, machine.NoSuchDevice) as error:
        return refuse(error)
    return run(settings, opened)


def run(settings: Settings, studio: Studio) -> int:
    """Work with these pipelines until a signal says to stop."""
    from worker.consumer import Consumer

    store, storage = open_store(settings), open_storage(settings.resolved_storage_url)
    has_ended = Consumer(settings, store, storage, studio).work()
    if not has_ended:
        # A thread that is deep in a step would be torn down with the interpreter around it.
        sys.stderr.flush()
        os._exit(0)
    store.close()
    return 0


def refuse(error: Exception) -> int:
    """Say in one sentence why there will be no worker."""
    print(f"darkroom-worker: {error}", file=sys.stderr)
    return EXIT_REFUSED


def configure_logging(level: str) -> None:
    """One line an event on stderr: for people on a terminal, as JSON for everything else."""
    renderers: list[structlog.typing.Processor]
    if sys.stderr.isatty():
        # Plain: the other formatters print every local variable, and prompts are nobody's business.
        renderers = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    else:
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
