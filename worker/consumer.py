"""The worker's process: hears rings, claims jobs for the crew, and ends in order.

It is an RQ worker to whoever looks at RQ (it is listed, it can be told to shut down), and takes nothing from RQ but
the ring: which job runs, the store decides, and no RQ job is ever fetched, executed or finalised.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from secrets import token_hex
from types import FrameType
from typing import Any

import structlog
from redis.client import PubSub
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.worker import BaseWorker

from app.jobs import queue
from app.jobs.events import CANCELS
from app.jobs.failures import StoreUnavailable
from app.jobs.settings import Settings
from app.jobs.storage import Storage
from app.jobs.store import Store
from worker.crew import Crew, Studio, Wish
from worker.threads import Ticker

log = structlog.get_logger()

RETRY_S = 1.0
# How often a worker that is full looks for those whom it would let in all the same.
GLANCE_S = 0.25
# A database that is away just then gets so long to hear what is given back; the supervisor waits for longer.
LAST_WORDS_S = 2.0


class Consumer(BaseWorker):
    """One worker. Its thread is control: signals, rings, claims; the rest is done by the crew's threads."""

    def __init__(self, settings: Settings, store: Store, storage: Storage, studio: Studio) -> None:
        """Prepare everything; nothing is connected and no thread runs before `work`."""
        # Before RQ's own constructor, which asks for the dequeue timeout.
        self._settings = settings
        connection = queue.connect(settings.resolved_redis_url)
        super().__init__(
            [queue.open_queue(connection)],
            name=f"{socket.gethostname()}-{os.getpid()}-{token_hex(4)}",
            connection=connection,
            serializer=queue.SERIALIZER,
            # It would ask Redis who we are, and Redis may be away just now.
            prepare_for_work=False,
        )
        self.hostname, self.pid = socket.gethostname(), os.getpid()
        # A wait for a ring lasts longer than anything else that Redis is asked, and must not be cut off; a Redis that
        # hangs must not keep us from the store for two of them.
        self._bell = queue.connect(settings.resolved_redis_url, timeout_s=self.dequeue_timeout + 1, retries=0)
        self._store = store
        self._models = [entry.name for entry in studio.entries]
        self._fingerprint = studio.facts.get("fingerprint")
        self._crew = Crew(self.name, settings, store, storage, studio, on_change=self._wake)
        self._presence = Ticker("presence", settings.beat_s, self._show_up)
        self._mail: SimpleQueue[None] = SimpleQueue()
        self._ears: PubSub | None = None
        self._is_listening = False
        self._is_listed = False
        self._stop_requests = 0
        self._makes_way = False
        self._solo_look_due = 0.0

    @property
    def dequeue_timeout(self) -> int:
        """Whole seconds to wait for a ring before looking at the store unasked."""
        return max(1, round(self._settings.sweep_s))

    @property
    def connection_timeout(self) -> int:
        """Whole seconds that RQ wants for whatever else it asks of Redis: as few as we give it, not ten more."""
        return 1

    def work(self, *args: Any, **options: Any) -> bool:
        """Work until asked to stop, then finish what is running or give it back.

        Returns whether every thread has ended; if not, only the end of the process can end it.
        """
        # Python takes signal handlers in the main thread only; elsewhere the caller says `stop`.
        if threading.current_thread() is threading.main_thread():
            self._install_signal_handlers()
        self._crew.start()
        self._presence.start()
        with suppress(StopRequested):
            while not self._stop_requested:
                wish = self._wish()
                if wish is None:
                    self._wait(self._settings.sweep_s)
                elif not self._claim(wish):
                    self._wait_for(wish)
        self._drain()
        return self._leave()

    def stop(self) -> None:
        """Ask for the end; asking twice leaves no time to finish. From any thread or signal handler."""
        self._stop_requests += 1
        self._stop_requested = True
        self._wake()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT. Raises StopRequested out of the wait for a ring, and out of nothing else."""
        self.stop()
        if self._is_listening:
            raise StopRequested

    def _wish(self) -> Wish | None:
        """What the crew has room for; nothing while a job is next that wants the worker for itself."""
        wish = self._crew.wish
        if wish is None or wish.alone:
            return wish
        if time.monotonic() >= self._solo_look_due:
            self._solo_look_due = time.monotonic() + self._settings.sweep_s
            try:
                self._makes_way = self._store.is_solo_next(self._models, self._fingerprint)
            except StoreUnavailable as error:
                log.warning("store.away", error=str(error))
        return None if self._makes_way else wish

    def _claim(self, wish: Wish) -> bool:
        """Claim the next job of this kind for the crew; False if there is none to be had."""
        try:
            claim = self._store.claim_next(
                self.name,
                self._models,
                loaded=self._crew.loaded,
                swap_cost=self._crew.swap_cost,
                alone=wish.alone,
                priorities=wish.priorities,
                busy_for=wish.busy_for,
                fingerprint=self._fingerprint,
            )
        except StoreUnavailable as error:
            log.warning("store.away", error=str(error))
            return False
        if claim is None:
            return False
        log.info("job.claimed", job_id=claim.job_id, attempt=claim.attempt)
        self._crew.take(claim)
        return True

    def _wait_for(self, wish: Wish) -> None:
        """Until there may be such a job, or room for others."""
        if wish.is_picky:
            # Not by listening: most rings are for others to hear, and have to be left to them.
            self._wait(min(GLANCE_S, self._settings.sweep_s))
        else:
            self._listen()

    def _wake(self) -> None:
        # A SimpleQueue, not an Event: its `put` may interrupt its `get` on the same thread, as signal handlers do.
        self._mail.put(None)

    def _wait(self, timeout_s: float) -> None:
        """Until something happened in this process, or `timeout_s` has gone by."""
        with suppress(Empty):
            self._mail.get(timeout=timeout_s)
            while True:
                self._mail.get_nowait()

    def _listen(self) -> None:
        """Until a ring, or until it is time to look at the store unasked."""
        try:
            self._is_listening = True
            # After the flag: a signal that came before it has raised nothing.
            if not self._stop_requested:
                queue.consume(self._bell, self.dequeue_timeout)
        except (RedisError, OSError) as error:
            self._is_listening = False
            log.warning("redis.away", error=str(error))
            self._wait(RETRY_S)
        finally:
            self._is_listening = False

    def _drain(self) -> None:
        """Wait for what is running, unless there is no hope that it ends in time; give the rest back."""
        deadline = time.monotonic() + self._settings.shutdown_s
        log.info("worker.draining", remaining_s=round(self._crew.remaining_s, 1))
        while not self._crew.is_idle and self._stop_requests < 2:
            left_s = deadline - time.monotonic()
            if self._crew.remaining_s >= left_s:
                break
            self._wait(left_s)
        deadline = time.monotonic() + LAST_WORDS_S
        while not self._crew.give_back() and self._stop_requests < 2 and time.monotonic() < deadline:
            self._wait(RETRY_S)

    def _leave(self) -> bool:
        has_ended = self._presence.stop(RETRY_S) & self._crew.stop()
        with suppress(StoreUnavailable):
            self._store.worker_left(self.name)
        with suppress(RedisError, OSError):
            self.teardown()  # type: ignore[no-untyped-call]
        log.info("worker.left", worker=self.name)
        return has_ended

    # What RQ asks of a worker

    def _show_up(self) -> None:
        """Be listed by RQ, and hear commands and cancels; anew after Redis was away, for it may be empty now."""
        try:
            if not self._is_listed:
                self.connection.delete(self.key)
                self.bootstrap("WARNING")
                self._is_listed = True
            self.heartbeat()
        except (RedisError, OSError):
            self._is_listed = False
            raise

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGINT, self.request_stop)
        signal.signal(signal.SIGTERM, self.request_stop)

    def subscribe(self) -> None:
        """Hear RQ's commands to this worker, and of cancels, on a thread that outlives Redis."""
        if self._ears is None:
            self._ears = self.connection.pubsub()  # type: ignore[no-untyped-call]
            self._ears.subscribe(**{self.pubsub_channel_name: self.handle_payload, CANCELS: self._hear_cancel})
            self._hearing = self._ears.run_in_thread(60, daemon=True, exception_handler=self._survive)

    def unsubscribe(self) -> None:
        """Stop hearing: the thread ends, and closes its connection, when Redis has answered."""
        if self._ears is not None:
            self._hearing.stop()
            self._ears.unsubscribe()  # type: ignore[no-untyped-call]

    def handle_payload(self, message: Any) -> None:
        """A command of RQ's; one that makes no sense must not end the thread that hears them."""
        try:
            super().handle_payload(message)  # type: ignore[no-untyped-call]
        except Exception as error:
            log.warning("worker.command_refused", error=repr(error))

    def _hear_cancel(self, message: Any) -> None:
        self._crew.look_at(bytes(message["data"]).decode(errors="replace"))

    def _survive(self, error: Exception, *_: Any) -> None:
        """Whatever the listening thread met: it listens on, since redis-py subscribes again by itself."""
        if not self._stop_requested:
            log.warning("redis.away", error=repr(error))
            time.sleep(RETRY_S)
