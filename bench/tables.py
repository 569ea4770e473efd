"""docs/PERFORMANCE.md's tables, from the results that are kept: `python -m bench.tables` writes them anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.common import RESULTS, Figure, Result

PAGE = Path(__file__).parents[1] / "docs" / "PERFORMANCE.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"


def main() -> None:
    """Write the results into the page."""
    PAGE.write_text(current(PAGE.read_text(), RESULTS))


def current(page: str, folder: Path) -> str:
    """The page with the results in `folder` where its own were.  Raises: ValueError if it has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have {BEGIN.strip()} and {END.strip()}")
    results = [(path.stem, Result.read(path)) for path in sorted(folder.glob("*.json"))]
    return (
        before
        + begin
        + "\n"
        + "\n".join(line for name, result in results for line in _section(name, result))
        + end
        + after
    )


def _section(name: str, result: Result) -> Iterator[str]:
    machine = ", ".join(
        f"{value} {fact}" if fact in ("cpus", "threads") else str(value) for fact, value in result.machine.items()
    )
    versions = ", ".join(f"{package} {version}" for package, version in result.versions.items())
    before, after = result.load
    yield f"### {name}"
    yield ""
    yield f"{machine}. {versions}. {result.taken_at}, {result.seconds:g} s, load average {before:g} to {after:g}."
    yield ""
    yield from _table(result.figures)
    yield ""


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    yield "| figure | value | seen from | to | aim |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for figure in figures:
        low, high = ("" if bound is None else f"{bound:g}" for bound in (figure.low, figure.high))
        yield f"| {figure.name} | {figure.value:g} {figure.unit} | {low} | {high} | {figure.goal} |"


if __name__ == "__main__":
    main()
