"""Which models are in memory: who is let go for whom, and what happens to those who use them meanwhile."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.conftest import wait_until
from worker.residency import WORTH_LOADING, CannotLoad, Residency

SIZE = 100


class Loader:
    """Loads names, at a cost of time; `calls` are what was loaded and let go, in order."""

    def __init__(self, budget: int, load_s: float = 0.0) -> None:
        self.now = 0.0
        self.load_s = load_s
        self.calls: list[str] = []
        self.residency = Residency(budget, self._load, lambda: self.calls.append("tidy"), lambda: self.now)

    def _load(self, name: str) -> Any:
        self.calls.append(name)
        self.now += self.load_s
        if name == "broken":
            raise CannotLoad(name)
        return f"pipeline of {name}"

    def use(self, *names: str) -> None:
        for name in names:
            with self.residency.using(name, SIZE) as pipeline:
                assert pipeline == f"pipeline of {name}"


def test_a_model_is_loaded_when_it_is_asked_for_and_once() -> None:
    loader = Loader(10 * SIZE)
    assert loader.residency.here == ()
    loader.use("a", "b", "a", "a")
    assert loader.calls == ["a", "b"]
    assert set(loader.residency.here) == {"a", "b"}
    assert loader.residency.held_bytes == 2 * SIZE


def test_the_one_that_was_used_longest_ago_is_let_go() -> None:
    loader = Loader(3 * SIZE)
    loader.use("a", "b", "c", "a", "d")
    assert loader.residency.here == ("c", "a", "d")
    loader.use("b")
    assert loader.residency.here == ("a", "d", "b")


def test_as_many_are_let_go_as_the_new_one_needs_room_for() -> None:
    loader = Loader(3 * SIZE)
    loader.use("a", "b", "c")
    with loader.residency.using("large", 2 * SIZE):
        assert loader.residency.here == ("c", "large")
        assert loader.residency.held_bytes == 3 * SIZE


def test_a_budget_too_small_for_two_holds_one() -> None:
    loader = Loader(2 * SIZE - 1)
    for name in "abab":
        loader.use(name)
        assert loader.residency.here == (name,)
    assert loader.calls == ["a", "tidy", "b", "tidy", "a", "tidy", "b"]


def in_thread(do: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    return thread


def test_nothing_is_loaded_before_those_who_use_what_has_to_go_are_through() -> None:
    loader = Loader(SIZE)
    with loader.residency.using("a", SIZE):
        waiting = in_thread(lambda: loader.use("b"))
        wait_until(lambda: loader.residency.is_loading, "the wish for b")
        # Nobody else can begin to use it, and still it is in memory.
        assert loader.residency.here == ()
        assert loader.calls == ["a"]
    waiting.join(60)
    assert loader.calls == ["a", "tidy", "b"]


def test_who_wants_back_what_is_going_waits_for_its_turn() -> None:
    loader = Loader(SIZE)
    with loader.residency.using("a", SIZE):
        first = in_thread(lambda: loader.use("b"))
        wait_until(lambda: loader.residency.is_loading, "the wish for b")
        second = in_thread(lambda: loader.use("a"))
    first.join(60)
    second.join(60)
    assert [call for call in loader.calls if call != "tidy"] == ["a", "b", "a"]


def test_models_that_stay_are_used_while_another_is_brought_in() -> None:
    loader = Loader(2 * SIZE)
    loader.use("a", "b")
    with loader.residency.using("a", SIZE):
        waiting = in_thread(lambda: loader.use("c"))
        waiting.join(60)
        # It was `b` that went, since `a` is the last that was taken up.
        assert loader.residency.here == ("a", "c")


def test_what_cannot_be_loaded_leaves_room_for_the_next() -> None:
    loader = Loader(SIZE)
    for _ in range(2):
        with pytest.raises(CannotLoad, match="the model broken"):
            loader.use("broken")
    assert not loader.residency.is_loading
    loader.use("a")
    assert loader.residency.here == ("a",)


def test_what_was_brought_in_is_worth_it_after_some_times_as_long() -> None:
    loader = Loader(SIZE, load_s=2.0)
    loader.use("a")
    assert loader.residency.slice_s == 2 * WORTH_LOADING
    loader.now += 2 * WORTH_LOADING - 0.1
    assert not loader.residency.may_swap
    loader.now += 0.2
    assert loader.residency.may_swap
