"""Principals and their keys: who is let in, and what is never kept."""

import hashlib
from typing import Any

import pytest
from sqlalchemy import select, text

from app.jobs.failures import BadPrincipal, NotFound, StoreUnavailable
from app.jobs.store import Principal, Store
from app.jobs.tables import keys


def last_used_at(bench: Any) -> float | None:
    with bench.engine.connect() as connection:
        found: float | None = connection.execute(select(keys.c.last_used_at)).scalar_one()
        return found


def test_whoever_shows_a_key_is_its_principal(bench: Any) -> None:
    ann, bob = bench.store.keys.create("ann"), bench.store.keys.create("bob", is_admin=True)

    assert bench.store.keys.admit(ann.token) == Principal("ann", is_admin=False)
    assert bench.store.keys.admit(bob.token) == Principal("bob", is_admin=True)
    assert (Principal("ann", is_admin=False).sees, Principal("bob", is_admin=True).sees) == ("ann", None)


def test_keys_rotate_and_the_principal_stays(bench: Any) -> None:
    old, new = bench.store.keys.create("ann"), bench.store.keys.create("ann")
    bench.store.keys.revoke(old.id)

    assert bench.store.keys.admit(old.token) is None
    assert bench.store.keys.admit(new.token) == Principal("ann", is_admin=False)


def test_a_rotated_key_is_good_for_the_overlap_and_no_longer(bench: Any) -> None:
    old = bench.store.keys.create("ann")
    new = bench.store.keys.rotate(old.id, overlap_s=3600)
    assert bench.store.keys.admit(old.token) == bench.store.keys.admit(new.token) == Principal("ann", is_admin=False)

    newer = bench.store.keys.rotate(old.id)
    assert bench.store.keys.admit(old.token) is None
    assert bench.store.keys.admit(newer.token) is not None
    with pytest.raises(NotFound):
        bench.store.keys.rotate("0" * 12)


def test_a_key_that_was_revoked_is_not_good_again_because_it_is_rotated(bench: Any) -> None:
    old = bench.store.keys.create("ann")
    bench.store.keys.revoke(old.id)
    bench.store.keys.rotate(old.id, overlap_s=3600)
    assert bench.store.keys.admit(old.token) is None


def test_a_secret_is_never_kept(bench: Any) -> None:
    made = bench.store.keys.create("ann")
    prefix, key_id, secret = made.token.split("_", 2)
    assert (prefix, key_id, len(secret)) == ("dk", made.id, 43)
    with bench.engine.connect() as connection:
        row = connection.execute(select(keys)).mappings().one()

    assert row["secret_sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(dict(row))
    assert secret not in repr(bench.store.keys.all())


def test_nothing_but_the_key_lets_anybody_in(bench: Any) -> None:
    made, other = bench.store.keys.create("ann"), bench.store.keys.create("bob")
    last = "A" if made.token[-1] != "A" else "B"
    of_another = f"dk_{made.id}_{other.token.split('_', 2)[2]}"
    wrong = [
        "", "dk_", made.id, made.token[:-1], made.token[:-1] + last, made.token + "A", made.token.upper(),
        f" {made.token}", of_another, f"dk_{'0' * 12}_{made.token.split('_', 2)[2]}", "dk_\0_x", "ä" * 60,
    ]  # fmt: skip

    assert [token for token in wrong if bench.store.keys.admit(token) is not None] == []


def test_a_service_that_ever_had_a_key_has_keys(bench: Any) -> None:
    assert not bench.store.keys.exist()
    made = bench.store.keys.create("ann")
    assert bench.store.keys.exist()

    bench.store.keys.revoke(made.id)

    assert bench.store.keys.exist()


def test_revoking_again_changes_nothing_and_an_unknown_key_is_named(bench: Any) -> None:
    made = bench.store.keys.create("ann")
    bench.store.keys.revoke(made.id)
    (before,) = bench.store.keys.all()
    bench.store.keys.revoke(made.id)

    assert bench.store.keys.all() == [before]
    with pytest.raises(NotFound, match="no key 'nobody'"):
        bench.store.keys.revoke("nobody")


def test_the_last_use_is_written_once_a_minute(bench: Any) -> None:
    made = bench.store.keys.create("ann")
    assert last_used_at(bench) is None
    bench.store.keys.admit(made.token)
    first = last_used_at(bench)
    assert first is not None
    bench.store.keys.admit(made.token)
    assert last_used_at(bench) == first

    with bench.engine.begin() as connection:
        connection.execute(text("UPDATE keys SET last_used_at = last_used_at - 61"))
    bench.store.keys.admit(made.token)

    assert abs((last_used_at(bench) or 0) - first) < 10


def test_who_has_a_key_is_let_in_though_nothing_can_be_written(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench.store.keys.create("ann")

    def full() -> None:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(bench.store._transactions, "writing", full)

    assert bench.store.keys.admit(made.token) == Principal("ann", is_admin=False)


@pytest.mark.parametrize("name", ["", " ann", "a" * 65, "ann\n", "ann bob", "-ann", "ann/bob", "\0"])
def test_an_impossible_name_is_refused(bench: Any, name: str) -> None:
    with pytest.raises(BadPrincipal, match="1 to 64 letters"):
        bench.store.keys.create(name)
    assert not bench.store.keys.exist()


@pytest.mark.parametrize("weight", [0, -1, 1001, float("nan"), float("inf")])
def test_an_impossible_weight_is_refused(bench: Any, weight: float) -> None:
    with pytest.raises(BadPrincipal, match="weight"):
        bench.store.keys.create("ann", weight=weight)


def test_another_key_makes_nobody_an_admin_or_less_than_one(bench: Any) -> None:
    bench.store.keys.create("ann")
    bench.store.keys.create("bob", is_admin=True)

    for name, is_admin in (("ann", True), ("bob", False)):
        with pytest.raises(BadPrincipal, match="admin"):
            bench.store.keys.create(name, is_admin=is_admin)


def test_an_admin_sees_what_anybody_made_and_nobody_else_does(bench: Any) -> None:
    claim = bench.submit_and_claim(owner="ann")
    bench.store.finish(claim, bench.success(claim))
    (image,) = bench.store.get(claim.job_id, None).images

    assert [job.id for job in bench.store.jobs(None).items] == [claim.job_id]
    assert [each.id for each in bench.store.images(None).items] == [image.id]
    assert bench.store.image(image.id, None).owner == "ann"
    assert bench.store.jobs("bob").items == bench.store.images("bob").items == ()
    for method in (bench.store.get, bench.store.cancel):
        with pytest.raises(NotFound):
            method(claim.job_id, "bob")
    with pytest.raises(NotFound):
        bench.store.image(image.id, "bob")


def test_a_weight_is_kept_until_another_is_given(bench: Any, settings: Any) -> None:
    bench.store.keys.create("ann", weight=2)
    bench.store.keys.create("ann")
    job = Store(bench.engine, settings).submit(bench.make_params(), "ann")
    with bench.engine.connect() as connection:
        tag = connection.execute(text("SELECT tag FROM jobs")).scalar_one()

    assert tag == job.cost / 2
