"""How much a principal may ask for: what was said for its name, else what the settings say."""

from typing import Any

import pytest

from app.jobs.failures import BadPrincipal, QuotaReached, TooCostly
from app.jobs.settings import Settings
from app.jobs.spec import Given, cost
from app.jobs.store import Blob, Limits, Priority, Store
from app.jobs.store.quotas import Quota

SHA256 = "a" * 64


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that allow a key little."""
    limits = {"key_requests_per_minute": 60, "key_queued_jobs": 2, "key_uploads_mb": 1}
    return settings.model_copy(update=limits)


def keep(store: Store, size_bytes: int) -> Blob:
    blob = Blob(Given(SHA256, 8, 8, frozenset()), store.new_blob_key(SHA256), size_bytes)
    return store.add_blob(blob)


def test_what_was_said_for_a_name_counts_before_what_the_settings_say(bench: Any) -> None:
    keys = bench.store.keys
    keys.create("ann")
    keys.create("bob", limits=Limits(queued_jobs=0, job_cost=5.0))
    keys.create("root", is_admin=True)
    keys.create("watch", is_admin=True, limits=Limits(requests_per_minute=5))

    assert keys.quota("ann") == Quota(60, 2, 0, 1)
    assert keys.quota("bob") == Quota(60, 0, 5.0, 1)
    assert keys.quota("root") == keys.quota("local") == Quota()
    assert keys.quota("watch") == Quota(requests_per_minute=5)

    keys.limit("bob", Limits(uploads_mb=7))
    assert keys.quota("bob") == Quota(60, 0, 5.0, 7)


@pytest.mark.parametrize("limits", [Limits(queued_jobs=-1), Limits(job_cost=float("nan")), Limits(uploads_mb=2**31)])
def test_an_impossible_limit_makes_no_key(bench: Any, limits: Limits) -> None:
    with pytest.raises(BadPrincipal, match="must be 0"):
        bench.store.keys.create("ann", limits=limits)
    assert bench.store.keys.all() == []
    with pytest.raises(BadPrincipal, match="nobody is called"):
        bench.store.keys.limit("ann", Limits())


def test_as_many_jobs_wait_as_the_name_may_have_and_others_do_not_count(bench: Any) -> None:
    bench.store.keys.create("ann")
    bench.submit(owner="bob")
    first, second = bench.submit(owner="ann"), bench.submit(owner="ann", priority=Priority.LOW)
    with pytest.raises(QuotaReached, match="2 jobs"):
        bench.submit(owner="ann")
    bench.submit(owner="bob")

    bench.store.cancel(first.id, "ann")
    third = bench.submit(owner="ann")
    with pytest.raises(QuotaReached):
        bench.submit(owner="ann")
    assert {second.state, third.state} == {"queued"}


def test_a_job_may_cost_as_much_as_the_limit_and_no_more(bench: Any) -> None:
    params = bench.make_params(num_images=2)
    bench.store.keys.create("ann", limits=Limits(job_cost=cost(params)))
    bench.store.submit(params, "ann")
    with pytest.raises(TooCostly) as refused:
        bench.store.submit(bench.make_params(num_images=3), "ann")
    assert refused.value.limit == cost(params)


def test_uploads_are_kept_up_to_the_quota_until_one_expires(bench: Any) -> None:
    bench.store.keys.create("ann")
    keep(bench.store, 600_000)
    bench.store.check_upload("ann", 600_000)
    bench.store.add_upload(SHA256, "ann")
    for ask in (lambda: bench.store.check_upload("ann", 600_000), lambda: bench.store.add_upload(SHA256, "ann")):
        with pytest.raises(QuotaReached, match="1 MB") as refused:
            ask()
        assert 0 < refused.value.retry_after_s <= 86_400
    bench.store.check_upload("ann", 400_000)
    bench.store.add_upload(SHA256, "bob")
