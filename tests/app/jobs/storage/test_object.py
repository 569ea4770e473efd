"""What a storage of objects promises about servers that fail, stall, or lose their answers."""

import socket
import time
from collections.abc import Callable

import pytest

from app.jobs.failures import NoSuchFile, SettingsError, StorageError, StorageFull
from app.jobs.storage import Storage, object, open_storage
from tests.app.jobs.storage.conftest import with_options
from tests.servers import ObjectStore, Proxy

KEY = f"{'a' * 32}/1-0.png"


def http(status: str, code: str = "") -> bytes:
    body = f"<Error><Code>{code}</Code></Error>"
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@pytest.fixture
def proxy(object_store: ObjectStore, make_proxy: Callable[[int], Proxy]) -> Proxy:
    return make_proxy(object_store.port)


@pytest.fixture
def behind(bucket_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A storage that is reached through the proxy, and does not try for long."""
    monkeypatch.setattr(object, "MAX_RETRIES", 2)
    monkeypatch.setattr(object, "REQUEST_TIMEOUT_S", 1.0)
    return open_storage(with_options(bucket_url, {"endpoint": f"http://127.0.0.1:{proxy.port}"}))


def test_objects_lie_below_the_prefix(bucket: str) -> None:
    open_storage(f"s3://{bucket}/some/prefix").put(KEY, b"x")

    assert list(open_storage(f"s3://{bucket}").list()) == [f"some/prefix/{KEY}"]
    assert list(open_storage(f"s3://{bucket}/some").list()) == [f"prefix/{KEY}"]


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Slow Down"])
def test_a_server_that_keeps_failing_is_an_error_of_the_storage(behind: Storage, proxy: Proxy, status: str) -> None:
    behind.put(KEY, b"before")
    proxy.answers = lambda request: http(status)
    actions = [
        lambda: behind.put("b/1.png", b"x"),
        lambda: behind.get(KEY),
        lambda: behind.open(KEY),
        lambda: behind.delete(KEY),
        lambda: list(behind.list()),
        behind.ping,
    ]
    for action in actions:
        with pytest.raises(StorageError, match="the storage failed") as failure:
            action()
        assert not isinstance(failure.value, NoSuchFile)

    proxy.answers = lambda request: None
    assert behind.get(KEY) == b"before"
    assert list(behind.list()) == [KEY]


def test_a_server_that_fails_once_is_asked_again(behind: Storage, proxy: Proxy) -> None:
    failures = [http("500 Internal Server Error")]
    proxy.answers = lambda request: failures.pop() if failures else None

    behind.put(KEY, b"x")

    assert failures == []
    assert behind.get(KEY) == b"x"


def test_trying_again_has_an_end(bucket_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object, "RETRY_TIMEOUT_S", 1.0)
    monkeypatch.setattr(object, "MAX_RETRIES", 1000)
    storage = open_storage(with_options(bucket_url, {"endpoint": f"http://127.0.0.1:{proxy.port}"}))
    proxy.answers = lambda request: http("500 Internal Server Error")
    began = time.monotonic()

    with pytest.raises(StorageError):
        storage.put(KEY, b"x")

    assert time.monotonic() - began < 8


def test_a_put_whose_answer_was_lost_is_done_and_may_be_repeated(behind: Storage, proxy: Proxy) -> None:
    proxy.loses_answer_to = b"PUT /"
    try:
        behind.put(KEY, b"picture")
    except StorageError:
        behind.put(KEY, b"picture")

    assert proxy.loses_answer_to is None
    assert behind.get(KEY) == b"picture"


def test_a_server_that_says_nothing_is_given_up(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object, "MAX_RETRIES", 0)
    monkeypatch.setattr(object, "REQUEST_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        storage = open_storage(with_options(bucket_url, {"endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}"}))
        for action in (storage.ping, lambda: storage.put(KEY, b"x"), lambda: storage.get(KEY)):
            began = time.monotonic()
            with pytest.raises(StorageError):
                action()
            assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("status", "code"),
    [("507 Insufficient Storage", ""), ("400 Bad Request", "XMinioStorageFull"), ("403 Forbidden", "QuotaExceeded")],
)
def test_a_store_that_is_full_is_named(behind: Storage, proxy: Proxy, status: str, code: str) -> None:
    proxy.answers = lambda request: http(status, code)

    with pytest.raises(StorageFull):
        behind.put(KEY, b"x")


def test_a_bucket_that_is_not_there_is_no_missing_file(bucket_url: str) -> None:
    storage = open_storage("s3://no-such-bucket")

    for action in (
        storage.ping,
        lambda: storage.put(KEY, b"x"),
        lambda: storage.get(KEY),
        lambda: list(storage.list()),
    ):
        with pytest.raises(StorageError, match="the storage failed") as failure:
            action()
        assert not isinstance(failure.value, NoSuchFile)


def test_an_option_that_nobody_knows_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError, match="option") as refusal:
        open_storage("s3://bucket?colour=opensesame")
    assert "opensesame" not in str(refusal.value)
