"""How much memory models may take."""

from pathlib import Path

import pytest

from worker import memory
from worker.memory import budget_of, memory_of

TOTAL = memory_of("cpu")["memory_total_bytes"]


def test_up_to_one_a_budget_is_a_share_of_the_memory_and_above_it_is_bytes() -> None:
    assert budget_of(0.25, "cpu") == TOTAL // 4
    assert budget_of(1.0, "cpu") == TOTAL
    assert budget_of(3e9, "cpu") == 3_000_000_000


@pytest.mark.parametrize(("said", "total"), [("1000000\n", 1_000_000), ("max\n", TOTAL), ("9" * 19, TOTAL)])
def test_a_container_has_what_it_may_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, total: int
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(said)
    monkeypatch.setattr(memory, "_LIMITS", (str(limit), str(tmp_path / "nowhere")))
    assert memory_of("cpu")["memory_total_bytes"] == total
