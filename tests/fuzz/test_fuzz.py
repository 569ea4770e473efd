"""The API keeps to its description, whatever it is sent: a short draw of what `make fuzz` does at length."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz import cases
from tests.fuzz.household import household

SEED = 1


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    """The description of a running service."""
    with household() as house:
        yield cases.load(house)


def test_no_request_gets_an_answer_that_is_not_described(schema: Any) -> None:
    cases.try_each_operation(schema, cases=300, number=SEED)
    assert {status.rpartition(" ")[2] for status in cases.TALLY} > {"200", "202", "404", "422"}


def test_every_way_along_the_links_leads_somewhere(schema: Any) -> None:
    before = cases.TALLY.copy()
    cases.walk(schema, walks=15, steps=6, number=SEED)
    new = cases.TALLY - before
    assert sum(count for label, count in new.items() if "{id}" in label and label.endswith("200")) >= 2
