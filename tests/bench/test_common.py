"""What benches share: whose turn it is, what a ratio is made of, and that a result is read as it was written."""

import json
from pathlib import Path

import pytest

from bench import common
from bench.common import Figure, Result, in_turns, quantile, ratio, run, spread


def test_sides_take_turns_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []
    seconds = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warm_ups=1)
    assert order == ["a", "b"] * 3
    assert {side: len(each) for side, each in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians() -> None:
    # The machine was ten times slower in the second round, for both.
    figure = ratio("a / b", [2.0, 30.0, 4.0], [1.0, 10.0, 4.0])
    assert (figure.value, figure.low, figure.high, figure.unit) == (2.0, 1.0, 3.0, "x")


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.9, 9), (0.91, 10), (1.0, 10)])
def test_a_quantile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert quantile(range(10, 0, -1), share) == value


def test_a_result_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    run("nothing", lambda is_short: [spread("wait", [1.0, 2.0, 3.123456], "s", "<= 3"), Figure("n", 2, "jobs")], [])
    result = Result.read(tmp_path / "nothing.json")
    assert result.figures == [Figure("wait", 2.0, "s", 1.0, 3.123, "<= 3"), Figure("n", 2, "jobs")]
    assert not result.is_short
    assert result.machine["cpus"] >= 1
    assert "python" in result.versions
    again = tmp_path / "again.json"
    result.write(again)
    assert json.loads(again.read_text()) == json.loads((tmp_path / "nothing.json").read_text())


def test_a_short_run_replaces_no_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    seen: list[bool] = []

    def measure(is_short: bool) -> list[Figure]:
        seen.append(is_short)
        return []

    run("nothing", measure, ["--label", "h200"])
    run("nothing", measure, ["--short"])
    assert seen == [False, True]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == [
        "nothing-h200.json",
        "short/nothing.json",
    ]
