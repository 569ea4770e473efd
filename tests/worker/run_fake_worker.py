"""A worker process with a pipeline that costs nothing, for tests that kill it. Everything but the studio is real.

    python tests/worker/run_fake_worker.py ENTRY.json STEP_S [HUNG_AFTER_S]

The settings come from the environment, as they do for `python -m worker`.
"""

import functools
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What Python put first is this folder, whose names are not meant to be top-level ones.
sys.path[0] = str(ROOT)

# The library without its __init__, which brings torch: this process has only to be quick and to die well.
library = types.ModuleType("models")
library.__path__ = [str(ROOT / "models")]
sys.modules["models"] = library

from models import errors  # noqa: E402

library.__dict__.update(ModelError=errors.ModelError, NonFinite=errors.NonFinite)
library.__dict__.update(
    dict.fromkeys(("TextToImage", "ImageToImage", "Inpaint", "SuperResolution"), types.SimpleNamespace)
)

import worker.crew  # noqa: E402
from app.jobs.catalogue import CatalogueEntry  # noqa: E402
from app.jobs.settings import load_settings  # noqa: E402
from tests.worker.fake_pipeline import FakePipeline, FakeStudio  # noqa: E402
from worker.__main__ import configure_logging, run  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    """Work; `arguments` are those of the command."""
    entry, step_s, *hung_after_s = arguments
    settings = load_settings()
    configure_logging(settings.log_level)
    if hung_after_s:
        worker.crew.WATCH_S = 0.2
        worker.crew.Watchdog = functools.partial(worker.crew.Watchdog, floor_s=float(hung_after_s[0]))
    studio = FakeStudio(CatalogueEntry.model_validate_json(Path(entry).read_text()), FakePipeline(float(step_s)))
    studio.facts |= {"pid": os.getpid()}
    return run(settings, studio)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # A promise to the tests' patience, kept here where it can be seen to be broken.
    brought = {"torch", "transformers"} & sys.modules.keys()
    assert not brought, f"the fake worker has imported {brought}"
    sys.exit(status)
