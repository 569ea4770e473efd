"""The doorbell: it rings, it may be lost, and whatever a stranger leaves at the door is not opened."""

import pickle
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue

from app.jobs.queue import QUEUE, connect, consume, open_queue, ring, ring_if_silent

QUEUE_KEY = "rq:queue:darkroom"


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@contextmanager
def commands_of(url: str) -> Iterator[list[str]]:
    """Every command the server hears while the block runs, but for the greetings of new connections."""
    heard: list[str] = []
    listener = Redis.from_url(url)
    with listener.monitor() as monitor:

        def listen() -> None:
            for line in monitor.listen():
                if line["command"] == "ECHO end":
                    return
                command = line["command"].split()[0].upper()
                if command not in ("HELLO", "CLIENT"):
                    heard.append(command)

        thread = Thread(target=listen)
        thread.start()
        yield heard
        speaker = Redis.from_url(url)
        speaker.echo("end")
        thread.join()
        speaker.close()
    listener.close()


def test_a_ring_is_heard_once(redis_connection: Redis) -> None:
    assert ring(redis_connection)

    assert consume(redis_connection, 1)
    assert not consume(redis_connection, 1)


def test_a_ring_that_was_heard_leaves_nothing_behind(redis_connection: Redis) -> None:
    ring(redis_connection)
    assert len(list(redis_connection.scan_iter("rq:job:*"))) == 1

    consume(redis_connection, 1)

    assert list(redis_connection.scan_iter("rq:job:*")) == []
    assert list(redis_connection.scan_iter("*intermediate*")) == []


def test_a_ring_that_nobody_hears_is_forgotten_in_time(redis_connection: Redis) -> None:
    ring(redis_connection)

    (key,) = redis_connection.scan_iter("rq:job:*")
    assert 0 < redis_connection.ttl(key) <= 3600


def test_a_ring_is_an_rq_job_in_an_rq_queue(redis_connection: Redis) -> None:
    ring(redis_connection)

    queue = open_queue(redis_connection)
    assert (queue.name, queue.key) == (QUEUE, QUEUE_KEY)
    assert [job.func_name for job in queue.jobs] == ["darkroom.ring"]


def test_a_ring_comes_while_one_waits_for_it(redis_url: str, redis_connection: Redis) -> None:
    heard: list[bool] = []
    thread = Thread(target=lambda: heard.append(consume(redis_connection, 5)))
    thread.start()

    other = connect(redis_url)
    ring(other)
    thread.join()
    other.close()

    assert heard == [True]


def test_nobody_rings_where_a_ring_waits_already(redis_connection: Redis) -> None:
    assert ring_if_silent(redis_connection)
    assert not ring_if_silent(redis_connection)

    assert consume(redis_connection, 1)
    assert ring_if_silent(redis_connection)


def test_ringing_while_redis_is_away_is_no_error(away_redis_url: str) -> None:
    connection = connect(away_redis_url)

    assert not ring(connection)
    assert not ring_if_silent(connection)


def test_waiting_while_redis_is_away_says_so(away_redis_url: str) -> None:
    with pytest.raises(RedisError):
        consume(connect(away_redis_url), 1)


def test_after_redis_came_back_empty_it_rings_again(own_valkey: Any) -> None:
    connection = connect(own_valkey.url, timeout_s=3)
    ring(connection)
    own_valkey.kill()
    assert not ring(connection)

    own_valkey.start()

    assert ring_if_silent(connection)
    assert consume(connection, 1)
    connection.close()


def test_a_hostile_job_is_a_ring_and_executes_nothing(redis_connection: Redis, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    hostile = {
        "data": zlib.compress(bomb),
        "meta": bomb,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "origin": QUEUE,
        "status": "queued",
        "success_callback_name": "os.abort",
        "failure_callback_name": "os.abort",
        "stopped_callback_name": "os.abort",
        "webhooks": '[{"url": "http://127.0.0.1:1/", "statuses": ["finished"]}]',
        "timeout": "not a number",
        "worker_name": b"\xff\xfe",
    }
    redis_connection.hset("rq:job:hostile", mapping=hostile)
    redis_connection.rpush(QUEUE_KEY, "hostile")

    assert consume(redis_connection, 1)

    assert not (tmp_path / "exploded").exists()
    assert not redis_connection.exists("rq:job:hostile")


def test_the_bomb_of_these_tests_is_live(redis_connection: Redis, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    redis_connection.hset("rq:job:hostile", mapping={"data": zlib.compress(bomb), "meta": bomb})
    redis_connection.rpush(QUEUE_KEY, "hostile")

    # What a worker of RQ's own does, and this service never.
    Queue.dequeue_any([Queue(QUEUE, connection=redis_connection)], None, connection=redis_connection)

    assert (tmp_path / "exploded").exists()


def test_a_ring_is_taken_by_its_id_and_nothing_of_it_is_read(redis_url: str, redis_connection: Redis) -> None:
    ring(redis_connection)

    with commands_of(redis_url) as heard:
        consume(redis_connection, 1)

    assert heard == ["BLPOP", "DEL"]


@pytest.mark.parametrize("ring_id", [b"\xff\xfe\x00", b"", b"../../x", b"a" * 100_000])
def test_a_ring_with_a_strange_id_is_a_ring(redis_connection: Redis, ring_id: bytes) -> None:
    redis_connection.rpush(QUEUE_KEY, ring_id)

    assert consume(redis_connection, 1)
    assert not consume(redis_connection, 1)


def test_something_else_under_the_queues_name_is_cleared_away(redis_connection: Redis) -> None:
    redis_connection.set(QUEUE_KEY, "not a list")
    assert not ring_if_silent(redis_connection)

    assert not consume(redis_connection, 1)

    assert ring_if_silent(redis_connection)
    assert consume(redis_connection, 1)
