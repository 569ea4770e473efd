"""Whatever asks for `settings` or `store` in this folder is asked twice: of SQLite and of PostgreSQL."""

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """A migrated database of each kind."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))
