"""Whose rows take the next step, on a simulated clock: a batch takes as long as it costs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from models import TextToImage
from tests.worker.fake_pipeline import FakePipeline
from worker.engine.buckets import GOOD_STEPS, Buckets, rows_that_pay
from worker.engine.turns import Guest, Turns

PIPELINE = FakePipeline()
CELL = 64.0


@dataclass(eq=False)
class Job:
    """Work that nobody watches."""

    owner: str
    request: TextToImage
    is_low: bool = False
    pipeline: FakePipeline = field(default_factory=lambda: PIPELINE)

    @property
    def step_cost(self) -> float:
        return self.request.width * self.request.height / CELL


@dataclass
class Device:
    """Takes the batches that `turns` gives, with a clock that they move; writes down who took part in which."""

    max_rows: int = 1
    turns: Turns = field(default_factory=Turns)
    clock: float = 0.0
    batches: list[list[Job]] = field(default_factory=list)
    spent: Counter[str] = field(default_factory=Counter)
    ended: dict[Job, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buckets = Buckets(self.max_rows)

    def take(self, owner: str, side: int = 16, steps: int = 1000, images: int = 1, **job: Any) -> Job:
        request = TextToImage(prompt=owner, width=side, height=side, num_steps=steps, num_images=images)
        work = Job(owner, request, **job)
        self.turns.add(Guest(work, work.pipeline.begin(request)))
        return work

    def run(self, batches: int) -> None:
        for _ in range(batches):
            batch = self.turns.next_batch(self.buckets.size)
            self.batches.append([guest.work for guest, _ in batch])
            for guest, row in batch:
                row.step += 1
                self.clock += guest.work.step_cost
                self.spent[guest.work.owner] += guest.work.step_cost
                guest.waiting = [row for row in guest.waiting if not row.is_done]
                if not guest.waiting:
                    self.ended[guest.work] = self.clock
                    self.turns.remove(guest)

    def owners(self) -> list[str]:
        return ["".join(sorted({job.owner for job in batch})) for batch in self.batches]


def test_a_key_with_many_jobs_delays_the_single_job_of_another_by_one_batch_at_most() -> None:
    device = Device()
    for _ in range(50):
        device.take("a")
    device.run(100)
    single = device.take("b", steps=10)
    device.run(20)
    # The batch that was running when it came is over: it is next, and then has every second turn.
    assert device.owners()[100:] == ["b", "a"] * 10
    assert device.ended[single] == device.clock - 4


@pytest.mark.parametrize("max_rows", [1, 2, 4, 8])
def test_many_jobs_in_many_shapes_and_models_count_as_one_owners(max_rows: int) -> None:
    device = Device(max_rows)
    for side in (8, 16, 24, 32):
        for pipeline in (FakePipeline(), FakePipeline()):
            device.take("a", side, images=8, pipeline=pipeline)
    device.run(50)
    device.take("b", 32)
    device.run(1)
    assert "b" in device.owners()[-1]


def test_shapes_share_the_device_in_cost_and_not_in_steps() -> None:
    device = Device()
    small, large = device.take("a", 8, steps=10_000), device.take("a", 32, steps=10_000)
    device.run(1700)
    taken = Counter(job for (job,) in device.batches)
    # Sixteen times as cheap, sixteen times as often.
    assert taken[small] == pytest.approx(16 * taken[large], abs=16)
    # and never more than a large one's worth in a row
    assert all(large in [job for (job,) in device.batches[at : at + 18]] for at in range(1600))


def three_owners(max_rows: int) -> Counter[str]:
    """What is spent on three owners, of whom C shares a shape with A, and B none with anybody."""
    device = Device(max_rows)
    for side, images in ((8, 1), (16, 3), (32, 2)):
        device.take("a", side, steps=10_000, images=images)
    device.take("b", 24, steps=10_000, images=4)
    device.take("c", 16, steps=10_000)
    device.run(3000)
    return device.spent


def test_owners_share_the_device_in_cost_whatever_they_ask_for() -> None:
    spent = three_owners(max_rows=1)
    assert spent["a"] == pytest.approx(spent["b"], rel=0.02)
    assert spent["c"] == pytest.approx(spent["b"], rel=0.02)


def test_who_rides_along_in_the_step_of_another_takes_nobodys_turn() -> None:
    spent = three_owners(max_rows=4)
    assert spent["b"] == pytest.approx(spent["c"], rel=0.02)
    assert spent["a"] == pytest.approx(3 * spent["c"], rel=0.02)


def test_nobody_saves_up_turns_while_away() -> None:
    device = Device()
    for _ in range(2):
        device.take("a")
    device.run(500)
    device.take("b")
    device.run(100)
    assert Counter(device.owners()[500:]) == {"a": 50, "b": 50}


def test_an_owners_jobs_take_turns() -> None:
    device = Device()
    jobs = [device.take("a") for _ in range(3)]
    device.run(300)
    assert Counter(job for (job,) in device.batches) == dict.fromkeys(jobs, 100)


def test_rows_of_several_owners_share_a_step_and_leave_and_join_between_steps() -> None:
    device = Device(max_rows=4)
    first, second = device.take("a", steps=5, images=3), device.take("b", steps=2)
    device.run(2)
    assert [Counter(batch) for batch in device.batches] == [{first: 3, second: 1}] * 2
    third = device.take("c", steps=1)
    device.run(1)
    assert Counter(device.batches[-1]) == {first: 3, third: 1}


def test_what_differs_in_shape_or_model_shares_no_step() -> None:
    device = Device(max_rows=8)
    device.take("a", 16, images=4)
    device.take("b", 24, images=4)
    device.take("c", 16, images=4, pipeline=FakePipeline())
    device.run(30)
    assert set(device.owners()) == {"a", "b", "c"}


@pytest.mark.parametrize(("waiting", "taken"), [(1, 1), (2, 2), (3, 2), (5, 4), (8, 8), (40, 8)])
def test_a_step_has_one_of_few_sizes(waiting: int, taken: int) -> None:
    device = Device(max_rows=8)
    device.take("a", images=waiting)
    device.run(1)
    assert len(device.batches[0]) == taken


def test_low_yields_at_the_next_step_and_goes_on_when_nothing_else_is_there() -> None:
    device = Device(max_rows=2)
    low = device.take("a", is_low=True)
    device.run(3)
    normal = device.take("a", 24, steps=4)
    other = device.take("b", steps=4)
    device.run(9)
    assert device.batches[:3] == [[low]] * 3
    # Not even in a place that nobody else wants: a larger step is a slower one.
    assert sorted(device.owners()[3:11]) == ["a"] * 4 + ["b"] * 4
    assert {job for batch in device.batches[3:11] for job in batch} == {normal, other}
    assert device.batches[11] == [low]


def test_what_an_owners_low_jobs_were_given_is_not_counted_against_the_normal_ones() -> None:
    device = Device()
    device.take("a", is_low=True)
    device.run(300)
    device.take("b")
    device.take("a")
    device.run(100)
    assert Counter(device.owners()[300:]) == {"a": 50, "b": 50}


def test_waiting_as_low_earns_nothing_among_the_low() -> None:
    device = Device()
    device.take("a", is_low=True)
    device.take("b", steps=500)
    device.run(500)
    device.take("c", is_low=True)
    device.run(100)
    assert Counter(device.owners()[500:]) == {"a": 50, "c": 50}


def test_memory_that_was_too_little_is_asked_for_less_and_after_a_while_for_more() -> None:
    buckets = Buckets(8)
    assert buckets.size("large", 100) == 8
    assert buckets.shrink("large", 8) == 4
    assert buckets.shrink("large", 4) == 2
    assert (buckets.size("large", 100), buckets.size("small", 100), buckets.times_shrunk) == (2, 8, 2)
    sizes = []
    for _ in range(2 * GOOD_STEPS):
        buckets.went_well("large", 1)
        buckets.went_well("large", buckets.size("large", 100))
        sizes.append(buckets.size("large", 100))
    assert sizes == [2] * (GOOD_STEPS - 1) + [4] * GOOD_STEPS + [8]


def test_the_smallest_step_shrinks_no_further() -> None:
    buckets = Buckets(2)
    assert buckets.shrink("large", 1) == 1
    assert buckets.size("large", 3) == 1


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        # As long for two as twice for one: nobody gains, and all wait longer.
        ({1: 1.0, 2: 2.0}, 1),
        ({1: 1.0, 2: 1.9}, 1),
        ({1: 1.0, 2: 1.2, 4: 1.6, 8: 3.1}, 4),
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0, 16: 1.0}, 16),
    ],
)
def test_as_many_rows_share_a_step_as_pay(seconds: dict[int, float], rows: int) -> None:
    # What is not in the table is not measured.
    assert rows_that_pay(seconds.__getitem__) == rows


def test_what_is_too_much_for_the_memory_does_not_pay() -> None:
    def step_s(rows: int) -> float:
        if rows > 4:
            raise MemoryError
        return 1.0

    assert rows_that_pay(step_s) == 4
