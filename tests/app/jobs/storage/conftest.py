"""A bucket of the test's own."""

from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from tests.servers import ObjectStore


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket; how to get there is in the environment."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return object_store.create_bucket()


@pytest.fixture
def bucket_url(bucket: str) -> str:
    """The URL of a place in an empty bucket."""
    return f"s3://{bucket}/some/prefix"


def with_options(url: str, options: Mapping[str, str]) -> str:
    return f"{url}?{urlencode(options)}"
