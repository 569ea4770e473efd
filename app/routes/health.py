"""Whether the process lives, whether the service can work, and which one it is."""

from fastapi import APIRouter
from redis.exceptions import RedisError

from app.deps import House, Inside
from app.errors import Unavailable, documented
from app.jobs.build import installed_version
from app.jobs.failures import StorageError, StoreUnavailable
from app.schemas import LiveOut, ReadyOut, VersionOut, WorkerOut

router = APIRouter(tags=["operations"])


@router.get("/healthz", operation_id="isAlive")
async def healthz() -> LiveOut:
    """The process answers."""
    return LiveOut(status="ok")


@router.get("/readyz", operation_id="isReady", responses=documented(Unavailable))
def readyz(house: Inside) -> ReadyOut:
    """Jobs are accepted: the database and the storage answer, and some model is known.

    Redis and workers are told as facts: jobs are accepted without them and wait.
    """
    models = _needed(house)
    return ReadyOut(
        status="ready",
        models=models,
        redis=_redis_answers(house),
        workers=[WorkerOut(name=each.name, models=list(each.models)) for each in house.store.workers_alive()],
        queued=house.store.queue_length(),
    )


@router.get("/version", operation_id="getVersion")
async def show_version() -> VersionOut:
    """Which service this is."""
    return VersionOut(name="Darkroom", version=installed_version(), api="v1")


def _needed(house: House) -> list[str]:
    """The models known, if all that is needed is there.  Raises: Unavailable naming what is missing."""
    try:
        house.store.ping()
        models = house.store.known_models()
    except StoreUnavailable:
        raise Unavailable("The database does not answer.") from None
    try:
        house.storage.ping()
    except StorageError:
        raise Unavailable("The file storage does not answer.") from None
    if not models:
        raise Unavailable("No worker has registered a model yet.")
    return models


def _redis_answers(house: House) -> bool:
    try:
        return bool(house.redis.ping())
    except (RedisError, OSError):
        return False
