"""A session stands for the key that began it, is kept as a digest, and ends: by itself, on purpose, or with its key."""

import hashlib
from typing import Any

from sqlalchemy import select, update

from app.jobs.columns import database_now
from app.jobs.store import Principal
from app.jobs.tables import sessions


def test_a_session_is_whose_the_key_is(bench: Any) -> None:
    keys = bench.store.keys
    begun = keys.sign_in(keys.create("ann").token)
    assert keys.admit_session(begun.token) == Principal("ann", is_admin=False)
    assert begun.lasts_s == 604_800
    for wrong in ("", begun.token[:-1], begun.token + "A", "\0" * 43, "ä" * 43):
        assert keys.admit_session(wrong) is None
    assert keys.sign_in("dk_000000000000_" + "x" * 43) is None


def test_a_session_is_kept_as_a_digest_alone(bench: Any) -> None:
    begun = bench.store.keys.sign_in(bench.store.keys.create("ann").token)
    with bench.engine.connect() as connection:
        row = connection.execute(select(sessions)).mappings().one()
    assert row["token_sha256"] == hashlib.sha256(begun.token.encode()).hexdigest()
    assert begun.token not in repr(dict(row))


def test_a_session_ends_on_purpose_in_time_and_with_its_key(bench: Any) -> None:
    keys = bench.store.keys
    made, other = keys.create("ann"), keys.create("ann")
    signed_out, expired, revoked, kept = (keys.sign_in(each.token) for each in (other, other, made, other))

    keys.sign_out(signed_out.token)
    with bench.engine.begin() as connection:
        digest = hashlib.sha256(expired.token.encode()).hexdigest()
        is_it = sessions.c.token_sha256 == digest
        connection.execute(update(sessions).where(is_it).values(expires_at=database_now() - 1))
    keys.revoke(made.id)

    assert [keys.admit_session(each.token) for each in (signed_out, expired, revoked)] == [None, None, None]
    assert keys.admit_session(kept.token) == Principal("ann", is_admin=False)


def test_what_has_expired_is_forgotten_when_somebody_signs_in(bench: Any) -> None:
    token = bench.store.keys.create("ann").token
    bench.store.keys.sign_in(token)
    with bench.engine.begin() as connection:
        connection.execute(update(sessions).values(expires_at=database_now() - 1))
    begun = bench.store.keys.sign_in(token)
    with bench.engine.connect() as connection:
        kept = connection.execute(select(sessions.c.token_sha256)).scalars().all()
    assert kept == [hashlib.sha256(begun.token.encode()).hexdigest()]
