"""A process of the service with its faults in it: `python -m tests.chaos.child api FD | worker ENTRY.json STEP_S`.

Beside the hooks, and a worker's pipeline that costs nothing, everything is what `darkroom up` starts.
"""

import os
import sys

from tests.chaos.hooks import install_named

TIDY_VARIABLE = "CHAOS_TIDY_S"


def main() -> int:
    """Be what the command says."""
    role, *arguments = sys.argv[1:]
    if role == "api":
        from app.jobs.settings import load_settings
        from app.server import serve

        install_named()
        serve(load_settings(), int(arguments[0]))
        return 0
    from tests.worker import run_fake_worker  # isort: skip  # first: it keeps torch out

    import worker.crew

    install_named()
    worker.crew.TIDY_S = float(os.environ[TIDY_VARIABLE])
    return run_fake_worker.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
