"""The page about performance says what the results say."""

from pathlib import Path

import pytest

from bench import tables
from bench.common import RESULTS, Figure, Result

PAGE = tables.PAGE.read_text()


def result(**given: object) -> Result:
    facts = {
        "bench": "nothing",
        "is_short": False,
        "taken_at": "2026-01-02",
        "seconds": 3.5,
        "machine": {"cpu": "A Chip", "cpus": 2},
        "versions": {"python": "3.11.2"},
        "load": (0.1, 0.2),
        "figures": [Figure("wait", 2.0, "s", 1.0, 3.0, "<= 3"), Figure("n", 2, "jobs")],
    }
    return Result(**facts | given)  # type: ignore[arg-type]


def test_the_page_is_current() -> None:
    assert tables.current(PAGE, RESULTS) == PAGE, "python -m bench.tables brings it up to date"


def test_no_short_run_is_kept() -> None:
    assert [path.name for path in RESULTS.glob("*.json") if Result.read(path).is_short] == []


def test_every_figure_is_on_the_page_with_its_spread_and_its_machine(tmp_path: Path) -> None:
    result().write(tmp_path / "nothing.json")
    page = tables.current(PAGE, tmp_path)
    assert "### nothing\n" in page
    assert "A Chip, 2 cpus. python 3.11.2. 2026-01-02, 3.5 s, load average 0.1 to 0.2." in page
    assert "| wait | 2 s | 1 | 3 | <= 3 |\n| n | 2 jobs |  |  |  |\n" in page


def test_writing_the_page_again_changes_nothing(tmp_path: Path) -> None:
    result().write(tmp_path / "nothing.json")
    once = tables.current(PAGE, tmp_path)
    assert tables.current(once, tmp_path) == once


def test_a_page_without_a_place_for_results_is_refused() -> None:
    with pytest.raises(ValueError, match="results"):
        tables.current("# Nothing", RESULTS)


def test_every_bench_is_named_on_the_page() -> None:
    folder = Path(tables.__file__).parent
    benches = [path.stem for path in folder.glob("*.py") if 'if __name__ == "__main__":\n    run(' in path.read_text()]
    assert len(benches) >= 6
    assert [name for name in benches if f"| `{name}` |" not in PAGE] == []
