"""A launcher with three stand-in children, to be run as a process of its own: signals need one.

    python household.py FOLDER PATIENCE_S '{"cook": {"ignores": "SIGTERM"}}'

Starts `oven`, then `cook` and `waiter`, each with PATIENCE_S to end in; stand_in.py says how they may behave.
"""

import asyncio
import json
import sys
from pathlib import Path

from app.supervisor.child import Program
from app.supervisor.errors import UpError
from app.supervisor.launcher import Launcher

STAND_IN = Path(__file__).with_name("stand_in.py")

Behaviour = dict[str, str | float]


def program(name: str, folder: Path, patience_s: float, behaviour: Behaviour) -> Program:
    """A stand-in that is told how to behave."""

    async def is_ready(process_id: int) -> bool:
        ready = folder / f"{name}.ready"
        return ready.exists() and ready.read_text() == str(process_id)

    return Program(
        name=name,
        # -S: without site-packages a Python is there at once.
        command=[sys.executable, "-S", str(STAND_IN), str(folder), name, json.dumps(behaviour)],
        log=folder / "logs" / f"{name}.log",
        is_ready=is_ready,
        stop_within_s=patience_s,
    )


async def keep_house(folder: Path, patience_s: float, behaviours: dict[str, Behaviour]) -> int:
    """Start everybody, stay until told to stop; returns the exit status."""

    def say(text: str) -> None:
        print(text, flush=True)

    oven, cook, waiter = (
        program(name, folder, patience_s, behaviours.get(name, {})) for name in ("oven", "cook", "waiter")
    )
    async with Launcher(say) as launcher:
        await launcher.start(oven)
        await launcher.start(cook, waiter)
        launcher.say("open")
        await launcher.until_asked_to_stop()
    return launcher.exit_status


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(keep_house(Path(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3]))))
    except UpError as error:
        sys.exit(str(error))
