"""What every bench shares: rounds that take turns, figures with their spread, and a result that can be read later.

A figure counts when both sides ran in one process, in turns (A B A B ...), after a warm-up: whatever else the machine
does meets both alike.  Comparisons are medians of the rounds' ratios; a time alone is a bound on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

# Fewer rounds say nothing about the spread.
ROUNDS = 7

VERSIONS = ("darkroom", "torch", "diffusers", "sqlalchemy", "redis", "fastapi")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: what it is, its unit, the range it was seen in, and what it is to be (`goal`, in words)."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    goal: str = ""

    def __str__(self) -> str:
        spread = "" if self.low is None or self.high is None else f"  ({_short(self.low)} .. {_short(self.high)})"
        goal = f"  [{self.goal}]" if self.goal else ""
        return f"{self.name:58} {_short(self.value):>9} {self.unit}{spread}{goal}"


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of a bench found, and where.  `load` is the load average before and after."""

    bench: str
    is_short: bool
    taken_at: str
    seconds: float
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    load: tuple[float, float]
    figures: Sequence[Figure]

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Result:
        """What `write` kept."""
        told = json.loads(path.read_text())
        before, after = told.pop("load")
        return cls(**told | {"load": (before, after), "figures": [Figure(**each) for each in told["figures"]]})


def in_turns(
    sides: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Seconds that each side took in each round, all sides in turn, after `warm_ups` rounds that do not count.

    A side whose work goes on after it returns (a GPU's) must wait for it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_ups, rounds):
        for name, work in sides.items():
            started = time.perf_counter()
            work()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(name: str, above: Sequence[float], below: Sequence[float], goal: str = "") -> Figure:
    """The median of `above / below`, round by round, with its smallest and largest."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return spread(name, ratios, "x", goal)


def spread(name: str, values: Sequence[float], unit: str, goal: str = "") -> Figure:
    """The median of some measurements, with the smallest and the largest."""
    return Figure(name, statistics.median(values), unit, min(values), max(values), goal)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that is not exceeded by `share` of them."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    facts: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }
    # Whoever measures a device has brought torch; nobody else needs to wait for it.
    if (torch := sys.modules.get("torch")) is not None:
        facts["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            facts["gpu"] = torch.cuda.get_device_name()
    return facts


def versions() -> dict[str, str]:
    """Of Python and of the packages that the figures depend on, as far as they are here."""
    found = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def run(bench: str, measure: Callable[[bool], Sequence[Figure]], arguments: Sequence[str] | None = None) -> None:
    """A bench as a program: `measure(is_short)`, a table on the terminal, a JSON file among the results.

    A short run's file lies apart, so that it replaces no full one.
    """
    parser = argparse.ArgumentParser(f"python -m bench.{bench}")
    parser.add_argument("--short", action="store_true", help="fewer rounds and sizes: minutes become seconds")
    parser.add_argument("--label", help="the machine's short name, if its result is to lie beside another's")
    options = parser.parse_args(arguments)
    before, started = os.getloadavg()[0], time.perf_counter()
    figures = measure(options.short)
    result = Result(
        bench=bench,
        is_short=options.short,
        taken_at=datetime.now(UTC).strftime("%Y-%m-%d"),
        seconds=round(time.perf_counter() - started, 1),
        machine=machine(),
        versions=versions(),
        load=(round(before, 2), round(os.getloadavg()[0], 2)),
        figures=[_rounded(figure) for figure in figures],
    )
    name = bench if options.label is None else f"{bench}-{options.label}"
    path = (RESULTS / "short" if options.short else RESULTS) / f"{name}.json"
    result.write(path)
    print(f"{bench}, {result.seconds:g} s, load {result.load[0]:g} -> {result.load[1]:g}")
    for figure in result.figures:
        print(f"  {figure}")
    print(f"  written to {path}")


def _rounded(figure: Figure) -> Figure:
    """Four digits: more are noise."""
    numbers = {name: value for name, value in asdict(figure).items() if isinstance(value, float)}
    return Figure(**asdict(figure) | {name: float(f"{value:.4g}") for name, value in numbers.items()})


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
