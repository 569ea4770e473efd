"""What a worker holds, and the beat that keeps it."""

from collections.abc import Callable, Sequence

import pytest

from app.jobs.catalogue import CatalogueEntry
from app.jobs.failures import Reason
from app.jobs.settings import Settings
from app.jobs.spec import TextToImageParams
from app.jobs.store import Claim, Store
from worker import leases
from worker.leases import Ending, Heart, Lease, Leases


@pytest.fixture
def claim(make_params: Callable[..., TextToImageParams]) -> Claim:
    return Claim("a" * 32, 1, "local", make_params())


@pytest.fixture
def held() -> Leases:
    return Leases(on_release=lambda: None)


@pytest.fixture
def heart(store: Store, held: Leases, entry: CatalogueEntry) -> Heart:
    return Heart(store, "worker-1", held, [entry], {"pid": 7})


@pytest.fixture
def submit(store: Store, make_params: Callable[..., TextToImageParams]) -> Callable[[], Claim]:
    """Queues a job and claims it."""

    def submit_and_claim() -> Claim:
        store.submit(make_params(), "local")
        claim = store.claim_next("worker-1", ["storybook"])
        assert claim is not None
        return claim

    return submit_and_claim


def test_the_first_ending_stays_but_a_loss_is_always_a_loss(claim: Claim) -> None:
    lease = Lease(claim, 4)
    assert lease.is_held
    lease.end(Ending.CANCELLED)
    lease.end(Reason.SHUTDOWN)
    assert lease.ending is Ending.CANCELLED
    assert not lease.is_held
    assert not lease.is_lost
    lease.end(Ending.LOST)
    assert lease.is_lost


def test_a_released_lease_is_forgotten_and_somebody_is_told(claim: Claim) -> None:
    told: list[int] = []
    held = Leases(on_release=lambda: told.append(len(held)))
    lease = held.take(claim, 4)
    assert (len(held), held.holds(claim.job_id), held.held()) == (1, True, [lease])
    held.release(lease)
    held.release(lease)
    assert (len(held), held.holds(claim.job_id)) == (0, False)
    assert told == [0, 0]


def test_two_attempts_at_one_job_are_two_leases(claim: Claim, held: Leases) -> None:
    first = held.take(claim, 4)
    second = held.take(Claim(claim.job_id, 2, claim.owner, claim.params), 4)
    held.release(first)
    assert held.held() == [second]


def test_a_beat_renews_every_lease_and_writes_the_progress(
    store: Store, held: Leases, heart: Heart, submit: Callable[[], Claim]
) -> None:
    lease = held.take(submit(), 4)
    lease.step = 3
    heart.beat()
    assert store.get(lease.claim.job_id, "local").progress.step == 3
    assert lease.is_held


def test_a_beat_learns_what_is_lost_and_what_is_cancelled(
    store: Store, held: Leases, heart: Heart, submit: Callable[[], Claim]
) -> None:
    kept, lost, cancelled = (held.take(submit(), 4) for _ in range(3))
    store.give_back(lost.claim, Reason.SHUTDOWN)
    store.cancel(cancelled.claim.job_id, "local")
    heart.beat()
    assert [lease.ending for lease in (kept, lost, cancelled)] == [None, Ending.LOST, Ending.CANCELLED]


def test_the_answer_to_a_beat_is_about_the_attempt_that_beat(
    store: Store, held: Leases, entry: CatalogueEntry, submit: Callable[[], Claim]
) -> None:
    first = held.take(submit(), 4)

    class Slow(Store):
        """A store during whose beat the job is given back and comes again to this very worker."""

        def beat(self, worker: str, claims: Sequence[object]) -> object:
            answer = store.beat(worker, claims)
            store.give_back(first.claim, Reason.SHUTDOWN)
            held.release(first)
            again = store.claim_next("worker-1", ["storybook"])
            assert again is not None
            held.take(again, 4)
            return type(answer)(lost=frozenset({first.claim.job_id}), cancelled=frozenset())

    slow = Slow.__new__(Slow)
    slow.__dict__.update(store.__dict__)
    Heart(slow, "worker-1", held, [entry], {}).beat()
    (second,) = held.held()
    assert (second.claim.attempt, second.is_held) == (2, True)
    assert first.is_lost


def test_the_first_beat_shows_the_worker_with_its_models(store: Store, heart: Heart, entry: CatalogueEntry) -> None:
    assert store.workers_alive() == []
    heart.beat()
    (worker,) = store.workers_alive()
    assert (worker.name, worker.models, worker.facts["pid"]) == ("worker-1", ("storybook",), 7)
    assert store.catalogue() == [entry]


def test_a_worker_that_was_forgotten_says_again_what_it_serves(
    store: Store, heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart.beat()
    store.worker_left("worker-1")
    monkeypatch.setattr(leases, "REGISTER_EVERY_S", 0.0)
    heart.beat()
    assert [worker.models for worker in store.workers_alive()] == [("storybook",)]


def test_who_sees_the_worker_alive_may_rely_on_its_models(
    settings: Settings, store: Store, held: Leases, entry: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    beat = store.worker_beat

    def watched(worker: str, facts: dict[str, object]) -> None:
        seen.append(store.known_models())
        beat(worker, facts)

    monkeypatch.setattr(store, "worker_beat", watched)
    Heart(store, "worker-1", held, [entry], {}).beat()
    assert seen == [["storybook"]]


def test_a_beat_says_how_much_memory_is_taken(store: Store, held: Leases, entry: CatalogueEntry) -> None:
    Heart(store, "worker-1", held, [entry], {"pid": 7, "device": "cpu"}).beat()
    (worker,) = store.workers_alive()
    assert (worker.facts["pid"], worker.facts["device"]) == (7, "cpu")
    assert 1_000_000 < worker.facts["memory_bytes"] < worker.facts["memory_total_bytes"]
