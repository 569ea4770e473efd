"""Telling watchers.  Every function returns whether Redis took it; Redis away is never an error."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

CANCELS = "darkroom:cancel"
"""Channel on which the front door names jobs (by id) that were asked to end; workers listen."""

EVENTS = "darkroom:events"
"""Channel on which every job with something new in its stream is named."""

_KEPT_ENTRIES = 512
_KEPT_S = 3600

log = structlog.get_logger()


def publish_state(connection: Redis, job_id: str, state: str) -> bool:
    """Tell watchers that the job is now in `state`."""
    return _publish(connection, job_id, "state", {"state": state})


def publish_progress(connection: Redis, job_id: str, step: int, steps: int, index: int, preview: str | None) -> bool:
    """Tell watchers how far the job is, and how image `index` looks now (a data: URI)."""
    progress = {"step": step, "steps": steps, "index": index, "preview": preview}
    return _publish(connection, job_id, "progress", progress)


def publish_done(connection: Redis, job_id: str, state: str) -> bool:
    """Tell watchers that the job has ended in `state`, and that nothing more will come."""
    return _publish(connection, job_id, "done", {"state": state})


def publish_cancel(connection: Redis, job_id: str) -> bool:
    """Tell workers that the job was asked to end; at their next beat they would read it in its row."""
    try:
        connection.publish(CANCELS, job_id)
    except (RedisError, OSError) as error:
        log.debug("events.lost", job_id=job_id, event_name="cancel", error=str(error))
        return False
    return True


def stream_key(job_id: str) -> str:
    """The Redis key of a job's stream."""
    return f"darkroom:job:{job_id}"


def _publish(connection: Redis, job_id: str, event: str, data: Mapping[str, Any]) -> bool:
    key = stream_key(job_id)
    pipeline = connection.pipeline(transaction=False)
    pipeline.xadd(key, {"event": event, "data": json.dumps(data)}, maxlen=_KEPT_ENTRIES, approximate=True)
    pipeline.expire(key, _KEPT_S)
    pipeline.publish(EVENTS, job_id)
    try:
        pipeline.execute()
    except (RedisError, OSError) as error:
        log.debug("events.lost", job_id=job_id, event_name=event, error=str(error))
        return False
    return True
