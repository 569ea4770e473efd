"""The environment (`DARKROOM_*`) as one frozen object.

Durations are seconds.  An empty variable counts as not given.  `load_settings` is how a process gets its
settings: it also refuses variables it does not know, so that a misspelt one is not silently ignored.
"""

import hashlib
import ipaddress
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.jobs.failures import SettingsError

PREFIX = "DARKROOM_"

# Linux gives sun_path 108 bytes, the last of them for the NUL.
SOCKET_PATH_BYTES = 107


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


Folder = Annotated[Path, AfterValidator(_absolute)]
Seconds = Annotated[float, Field(gt=0, le=86_400, description="a number of seconds above 0, at most 86400")]
LongSeconds = Annotated[float, Field(gt=0, le=366 * 86_400, description="a number of seconds above 0, up to a year")]
Bound = Annotated[int, Field(ge=0, le=2**31 - 1, description="a whole number; 0 is no limit")]


class Settings(BaseSettings):
    """Everything that may differ between two installations.  `None` always means: the built-in choice."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", allow_inf_nan=False
    )

    host: str = Field("127.0.0.1", min_length=1, description="a host name or address")
    port: int | None = Field(None, ge=1, le=65_535, description="a port from 1 to 65535")
    allowed_hosts: str | None = Field(None, description="host names, separated by commas")
    data_dir: Folder = Field(Path("data"), validate_default=True, description="a folder")
    models_dir: Folder | None = Field(None, description="a folder that holds model folders")

    database_url: str | None = Field(None, description="a sqlite:/// or postgresql:// URL")
    redis_url: str | None = Field(None, description="a unix://, redis:// or rediss:// URL")
    storage_url: str | None = Field(None, description="a file:/// URL of a folder or an s3:// URL of a bucket")

    lease_s: Seconds = 15.0
    beat_s: Seconds = 5.0
    sweep_s: Seconds = 5.0
    shutdown_s: Seconds = 30.0
    model_wait_s: Seconds = 600.0
    backoff_s: Seconds = 1.0
    max_backoff_s: Seconds = 60.0
    upload_s: Seconds = 86_400.0
    unpinned_s: Seconds = 3600.0
    keep_deleted_s: LongSeconds = 7 * 86_400.0
    max_attempts: int = Field(3, ge=1, le=100, description="a whole number from 1 to 100")
    max_infra_failures: int = Field(10, ge=0, le=1000, description="a whole number from 0 to 1000")
    starvation_s: Seconds = 600.0
    idempotency_s: Seconds = 86_400.0
    max_queued_jobs: int = Field(10_000, ge=1, le=10_000_000, description="a whole number from 1 to 10000000")

    key_requests_per_minute: Bound = 1200
    key_queued_jobs: Bound = 1000
    key_job_cost: float = Field(0, ge=0, description="pixels x steps x images; 0 is no limit")
    key_uploads_mb: Bound = 2000
    session_s: float = Field(604_800, gt=0, le=31_536_000, description="a number of seconds above 0, at most a year")

    default_model: str = Field("storybook", min_length=1, max_length=200, description="the name of a model")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:N")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="one of auto, float32, float16, bfloat16"
    )
    max_rows: int | None = Field(None, ge=1, le=16, description="a whole number from 1 to 16")
    model_memory: float = Field(0.6, gt=0, description="a number of bytes, or a share of the memory up to 1")
    threads: int | None = Field(None, ge=1, le=1024, description="a whole number from 1 to 1024")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="one of debug, info, warning, error"
    )

    @field_validator("database_url")
    @classmethod
    def _database_is_one_we_speak(cls, url: str | None) -> str | None:
        if url is None:
            return None
        # One driver is enough, and it is not the one SQLAlchemy takes unasked.
        url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("scheme")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis_is_one_we_speak(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("unix://", "redis://", "rediss://")):
            raise ValueError("scheme")
        return url

    @field_validator("storage_url")
    @classmethod
    def _storage_is_one_we_speak(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("file:///", "s3://")):
            raise ValueError("scheme")
        return url

    @field_validator("beat_s")
    @classmethod
    def _two_beats_fit_in_a_lease(cls, beat_s: float, info: ValidationInfo) -> float:
        lease_s = info.data.get("lease_s", beat_s * 2)
        if beat_s * 2 > lease_s:
            raise SettingsError(f"{PREFIX}BEAT_S must be at most half of {PREFIX}LEASE_S ({lease_s:g}), got {beat_s:g}")
        return beat_s

    @property
    def is_for_this_machine(self) -> bool:
        """Whether only this machine can reach the address the API listens on."""
        if self.host == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    @property
    def resolved_allowed_hosts(self) -> frozenset[str] | None:
        """The names, beside loopback's, by which the API may be called; None where any name will do.

        A name that was not given matters only where nobody needs a key: behind another's name hides his page.
        """
        if self.allowed_hosts is not None:
            return frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())
        if self.is_for_this_machine:
            return frozenset({f"[{self.host}]" if ":" in self.host else self.host})
        return None

    @property
    def resolved_database_url(self) -> str:
        """The database to use: the one given, or a SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir / 'darkroom.sqlite3'}"

    @property
    def resolved_redis_url(self) -> str:
        """The Redis to use: the one given, or the socket of the Valkey that `darkroom up` starts."""
        return self.redis_url or f"unix://{quote(str(self.socket_path))}"

    @property
    def resolved_storage_url(self) -> str:
        """The file storage to use: the one given, or a folder in the data folder."""
        return self.storage_url or (self.data_dir / "files").as_uri()

    @property
    def socket_path(self) -> Path:
        """Where the embedded Valkey listens; the same in every process with the same data folder.

        In the data folder where the kernel's limit on socket paths allows it, else in a folder of the
        user's own under the system's temporary folder.  `make_socket_folder` makes it ready to listen there.
        """
        beside_the_data = self.data_dir / "valkey.sock"
        if len(os.fsencode(beside_the_data)) <= SOCKET_PATH_BYTES:
            return beside_the_data
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"darkroom-{os.getuid()}-{digest}" / "valkey.sock"


def load_settings(**given: Any) -> Settings:
    """Read the settings from the environment; what is `given` (and not None) wins over it.

    Raises: SettingsError naming the variable, its value and what is allowed.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(dict(found)) for found in error.errors())) from None


def make_socket_folder(settings: Settings) -> Path:
    """Make the folder in which `settings.socket_path` lies, and return that path.

    Raises: SettingsError if it lies among other people's files and is not this user's alone.
    """
    folder = settings.socket_path.parent
    if folder == settings.data_dir:
        folder.mkdir(parents=True, exist_ok=True)
    else:
        private_folder(folder)
    return settings.socket_path


def private_folder(path: Path) -> Path:
    """Make `path` a folder that only this user can enter, or insist that it is one.

    Raises: SettingsError if somebody else could have put it there.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SettingsError(f"{path} must be a folder that belongs to this user alone (mode 0700)")
    return path


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = [name.upper() for name in Settings.model_fields]
    for variable in sorted(environment):
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known are {_with_prefix(known)}"
            raise SettingsError(f"{variable} is not a setting of Darkroom; {hint}")


def _with_prefix(names: list[str]) -> str:
    return ", ".join(PREFIX + name for name in names)


def _sentence(found: Mapping[str, Any]) -> str:
    field = str(found["loc"][0])
    if field not in Settings.model_fields:
        return f"{field} is not a setting of Darkroom; known are {', '.join(Settings.model_fields)}"
    # A URL may carry a password, which has no business in a log.
    value = re.sub(r"//[^@/]*@", "//***@", str(found["input"]))
    return f"{PREFIX}{field.upper()} must be {_allowed(field)}, got {value!r}"


def _allowed(field: str) -> str:
    info = Settings.model_fields[field]
    return info.description or "something else"
