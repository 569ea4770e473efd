"""What must hold before anything is started: who may call, what must answer, whose data it is, a port."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from redis import RedisError
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.failures import JobsError, StoreUnavailable
from app.jobs.queue import connect
from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import open_store
from app.supervisor.errors import NoAnswer, Refused

DEFAULT_PORT = 7860
PORTS_TRIED = 100
ANSWER_WITHIN_S = 5


def refuse_strangers(settings: Settings, *, unknown_is_none: bool = True) -> None:
    """Insist that nobody beyond this machine can reach the service while there are no keys.

    A database that cannot be asked has no keys, unless the caller keeps everybody out until it can be.
    Raises: Refused, since without keys everybody who reaches the service may use it.
    """
    if settings.is_for_this_machine:
        return
    try:
        if _has_keys(settings):
            return
    except StoreUnavailable:
        if not unknown_is_none:
            return
    raise Refused(
        f"DARKROOM_HOST must be a loopback address (127.0.0.1, ::1, localhost), got {settings.host!r}: there are "
        "no keys yet, so everybody who can reach that address could use this service. Make one first: "
        "`darkroom keys create NAME --admin`."
    )


def _has_keys(settings: Settings) -> bool:
    url = make_url(settings.resolved_database_url)
    # To look into a SQLite that is not there would be to make it.
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return False
    with closing(open_store(settings)) as store:
        return store.keys.exist()


def check_what_is_named(settings: Settings) -> None:
    """Ask each thing that the settings name, once, whether it is there.

    Raises: NoAnswer in one sentence with the variable's name; no password is repeated.
    """
    if settings.redis_url is not None:
        with _answering("DARKROOM_REDIS_URL", settings.redis_url):
            connect(settings.redis_url, timeout_s=ANSWER_WITHIN_S).ping()
    if settings.database_url is not None:
        with _answering("DARKROOM_DATABASE_URL", settings.database_url):
            _ask_database(settings.database_url)
    if settings.storage_url is not None:
        with _answering("DARKROOM_STORAGE_URL", settings.storage_url):
            open_storage(settings.storage_url).ping()
    if settings.models_dir is not None and not settings.models_dir.is_dir():
        raise NoAnswer(f"DARKROOM_MODELS_DIR must name a folder, and there is none at {settings.models_dir}.")


@contextmanager
def data_folder(path: Path) -> Iterator[None]:
    """Make the data folder where there is none, and hold it: a second launcher on it is refused.

    Raises: Refused if it cannot be made or written, or is held already.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (path / "up.lock").open("a+")
    except OSError as error:
        reason = f"DARKROOM_DATA_DIR must be a folder to write to, got {path}: {error.strerror}."
        raise Refused(reason) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refused(
                f"Another `darkroom up` (process {lock.read().strip() or 'unknown'}) already uses {path}; "
                "stop it, or set DARKROOM_DATA_DIR to another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def listen(host: str, port: int | None, say: Callable[[str], None]) -> socket.socket:
    """A listening socket on `host`: on `port` if one is asked for, else on the first free one from 7860 on.

    It is made here and handed to the API, so no other program can take the port in between, and clients that
    come while the API is started again wait instead of being refused.
    Raises: Refused if the port, or every port tried, is taken.
    """
    if port is not None:
        try:
            return _bound(host, port)
        except OSError as error:
            raise Refused(f"DARKROOM_PORT: {host} port {port} cannot be had: {error.strerror}.") from None
    for candidate in range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED):
        try:
            listener = _bound(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Refused(f"DARKROOM_HOST: no port of {host} can be had: {error.strerror}.") from None
            continue
        if candidate != DEFAULT_PORT:
            say(f"port {DEFAULT_PORT} is taken, so it is {candidate} this time")
        return listener
    raise Refused(f"Every port of {host} from {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TRIED - 1} is taken.")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _ask_database(url: str) -> None:
    is_sqlite = url.startswith("sqlite")
    engine = create_engine(url, connect_args={} if is_sqlite else {"connect_timeout": ANSWER_WITHIN_S})
    with engine.connect() as connection:
        # SQLite opens any file at all, and looks into it only when something has to be read.
        connection.exec_driver_sql("PRAGMA schema_version" if is_sqlite else "SELECT 1")
    engine.dispose()


@contextmanager
def _answering(variable: str, url: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, SQLAlchemyError, JobsError, OSError, ValueError) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise NoAnswer(f"{variable}: nothing usable answers at {_without_secrets(url)} ({cause}).") from None


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    place = parts.hostname or ""
    return f"{parts.scheme}://{place}{f':{parts.port}' if parts.port else ''}{parts.path}"
