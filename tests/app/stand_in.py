"""A child of household.py: a process that writes a diary, and behaves no better than it is told.

    python stand_in.py FOLDER NAME '{"ignores": "SIGTERM", "first_life": "dies", "later_lives": ""}'

It is ready once FOLDER/NAME.ready holds its process id.  A life that is not told otherwise lasts; else it
`dies` before it is ready though two others are, `dawdles` and never is, or is ready and then `crashes`.  It ends
on a signal, unless it `ignores` that one; on its way out it may linger.
"""

import json
import os
import signal
import sys
import time

READY_FOR_S = 0.5


def live(
    folder: str, name: str, ignores: str = "", first_life: str = "", later_lives: str = "", lingers_s: float = 0
) -> None:
    """Behave so until a signal ends it."""

    def note(event: str) -> None:
        with open(f"{folder}/diary", "a") as diary:
            diary.write(f"{name} {event}\n")

    def on_signal(number: int, frame: object) -> None:
        note(signal.Signals(number).name)
        if signal.Signals(number).name != ignores:
            if lingers_s:
                time.sleep(lingers_s)
                note("leaves")
            sys.exit(0)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    fate = later_lives if os.path.exists(f"{folder}/{name}.ready") else first_life
    note("begins")
    if fate == "dies":
        while sum(entry.endswith(".ready") for entry in os.listdir(folder)) < 2:
            time.sleep(0.02)
        print(f"{name} has no flour", flush=True)
        sys.exit(3)
    if fate != "dawdles":
        with open(f"{folder}/{name}.ready", "w") as ready:
            ready.write(str(os.getpid()))
    if fate == "crashes":
        time.sleep(READY_FOR_S)
        sys.exit(4)
    while True:
        signal.pause()


if __name__ == "__main__":
    live(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))
