"""What happens to a job while it happens: one Redis stream per job, for pages that watch.

The stream is the record, and the channel EVENTS its doorbell: a watcher that misses a ring looks at the
stream again soon.  All of it is best effort, since the row is the truth: publishing while Redis is away is
not an error, and watchers then learn from the store.
"""

from app.jobs.events.publishing import (
    CANCELS,
    EVENTS,
    publish_cancel,
    publish_done,
    publish_progress,
    publish_state,
    stream_key,
)
from app.jobs.events.reader import BEGINNING, Event, EventReader, connect_async

__all__ = [
    "BEGINNING",
    "CANCELS",
    "EVENTS",
    "Event",
    "EventReader",
    "connect_async",
    "publish_cancel",
    "publish_done",
    "publish_progress",
    "publish_state",
    "stream_key",
]
