"""RQ as a doorbell.  A ring says that there is work; which job that is, only the store decides.

Nothing that lies in an RQ job is ever read: its hash can name any importable function, callbacks and URLs,
and whoever can write to Redis could have put it there.  So a ring is taken off the queue by its id alone, and
its hash is deleted unread.  A lost ring is a delay of at most one sweep; ringing twice is harmless.
"""

from contextlib import suppress

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.job import Job as RqJob

QUEUE = "darkroom"
SERIALIZER = "json"

log = structlog.get_logger()

# A worker reads no ring's hash, so nothing is lost when one that nobody heard disappears.
_RING_TTL_S = 3600

# What an RQ dashboard shows.  No such function exists, so a stranger's worker could not run it either.
_RING = "darkroom.ring"


def connect(url: str, *, timeout_s: float = 1.0, retries: int = 1) -> Redis:
    """A connection pool that gives up on Redis after `timeout_s` instead of holding up its caller.

    Nothing is connected yet.  A connection that died, or does not answer, is replaced `retries` times, without waiting.
    """
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), retries),
    )


def open_queue(connection: Redis) -> Queue:
    """The RQ queue that rings go through."""
    return Queue(QUEUE, connection=connection, serializer=SERIALIZER)


def ring(connection: Redis) -> bool:
    """Tell one worker that there is work.  Returns whether Redis took it; Redis away is not an error."""
    try:
        open_queue(connection).enqueue_call(_RING, ttl=_RING_TTL_S, result_ttl=0)
    except (RedisError, OSError) as error:
        log.warning("queue.ring_lost", error=str(error))
        return False
    return True


def ring_if_silent(connection: Redis) -> bool:
    """Ring unless a ring is waiting to be heard already.  Returns whether it rang."""
    try:
        # Queue.count would clean up expired jobs without a lock; the list's length is all that is asked.
        if connection.llen(open_queue(connection).key):
            return False
    except (RedisError, OSError) as error:
        log.warning("queue.ring_lost", error=str(error))
        return False
    return ring(connection)


def consume(connection: Redis, timeout_s: int) -> bool:
    """Wait up to `timeout_s` whole seconds for a ring and take it.  Returns whether one came.

    Raises: redis.RedisError if Redis is away; the caller then waits for the next sweep.
    """
    key = open_queue(connection).key
    try:
        ring_id = Queue.lpop([key], timeout_s, connection=connection)[1]
    except DequeueTimeout:
        return False
    except ResponseError:
        # Somebody stored something else under the queue's name.  The sweeper will ring again.
        log.warning("queue.replaced", key=key)
        connection.delete(key)
        return False
    with suppress(RedisError, OSError):
        connection.delete(RqJob.redis_job_namespace_prefix.encode() + ring_id)
    return True
