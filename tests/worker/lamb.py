"""A child of a herd, which behaves no better than it is told.

    python -S lamb.py DIARY '{"cuda:0": ["crashes 70", "stays"]}'

Each life takes the next word of its device; the last one is that of all lives that follow.
"""

import json
import os
import signal
import sys

diary, fates = sys.argv[1], json.loads(sys.argv[2])
device = os.environ["DARKROOM_DEVICE"]


def note(event: str) -> None:
    with open(diary, "a") as file:
        file.write(f"{device} {event}\n")


def on_signal(number: int, frame: object) -> None:
    note(signal.Signals(number).name)
    if fate != "lingers":
        sys.exit(0)


with open(diary) as file:
    lives = file.read().count(f"{device} begins")
fate, _, code = fates[device][min(lives, len(fates[device]) - 1)].partition(" ")
signal.signal(signal.SIGTERM, on_signal)
signal.signal(signal.SIGINT, on_signal)
note("begins")
if fate == "crashes":
    sys.exit(int(code))
if fate == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
for _ in range(2):
    signal.pause()
