"""A herd of lambs, to be run as a process of its own: signals need one.

python run_herd.py DIARY FATES_JSON
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
# What Python put first is this folder, whose names are not meant to be top-level ones.
sys.path[0] = str(HERE.parents[1])

from worker import herd  # noqa: E402

herd.FIRST_PAUSE_S = 0.2
herd.LOOK_S = 0.02

if __name__ == "__main__":
    # -S: without site-packages a Python is there at once.
    command = [sys.executable, "-S", str(HERE / "lamb.py"), *sys.argv[1:]]
    sys.exit(herd.Herd(list(json.loads(sys.argv[2])), command, {}).keep())
