"""How often somebody may ask: an allowance that fills at so many a minute and holds a minute's worth.

All processes of a service count together, in Redis.  While Redis is away each counts for itself: nobody is locked
out by that, and nobody let in for nothing.
"""

import threading
import time

from redis import Redis
from redis.exceptions import RedisError

# How long Redis is left alone after it did not answer: a request must not wait for it again and again.
REST_S = 5.0

# An allowance is one number: when it will be full again (GCRA).  Taking one moves that by a minute's n-th part.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local each, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0)) + each
local wait = full_at - now - most
if wait > 0.000001 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', math.ceil((full_at - now) * 1000))
return '0'
"""

_MINUTE_S = 60.0


class Throttle:
    """The allowances of everybody who asks.  Safe to share between threads."""

    def __init__(self, redis: Redis) -> None:
        """Count in `redis`; nothing is connected yet."""
        self._take = redis.register_script(_TAKE)
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._rests_until = 0.0

    def wait_s(self, name: str, per_minute: int) -> float:
        """Take one from the allowance of `name`: 0, or if there is none, the seconds until there is."""
        each = _MINUTE_S / per_minute
        if time.monotonic() >= self._rests_until:
            try:
                return float(self._take(keys=[f"darkroom:allowance:{name}"], args=[each, _MINUTE_S]))
            except (RedisError, OSError):
                self._rests_until = time.monotonic() + REST_S
        return self._wait_here_s(name, each)

    def _wait_here_s(self, name: str, each: float) -> float:
        with self._lock:
            now = time.monotonic()
            full_at = max(now, self._full_at.get(name, 0.0)) + each
            wait = full_at - now - _MINUTE_S
            if wait > 1e-6:
                return wait
            self._full_at[name] = full_at
            return 0.0
