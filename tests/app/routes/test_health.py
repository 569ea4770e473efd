"""Ready means that jobs are accepted; Redis and workers are facts beside it."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from app.jobs.settings import Settings
from app.jobs.store import Store
from app.main import create_app


def test_a_process_without_models_is_alive_and_not_ready(bare_client: TestClient) -> None:
    assert bare_client.get("/healthz").json() == {"status": "ok"}
    response = bare_client.get("/readyz")
    assert response.status_code == 503
    assert "model" in response.json()["detail"]


def test_a_ready_service_tells_its_facts(client: TestClient, submit: Callable[..., object]) -> None:
    submit()
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "models": ["storybook"],
        "redis": True,
        "workers": [{"name": "worker-1", "models": ["storybook"]}],
        "queued": 1,
    }


def test_without_redis_and_workers_it_is_still_ready(
    settings: Settings, client: TestClient, store: Store, away_redis_url: str
) -> None:
    store.worker_left("worker-1")
    deaf = create_app(settings.model_copy(update={"redis_url": away_redis_url}))
    with TestClient(deaf, base_url=str(client.base_url)) as other:
        response = other.get("/readyz")
    assert response.status_code == 200
    assert (response.json()["redis"], response.json()["workers"]) == (False, [])


def test_without_its_storage_it_is_not_ready(settings: Settings, client: TestClient) -> None:
    lost = settings.model_copy(update={"storage_url": "file:///proc/nowhere"})
    with TestClient(create_app(lost), base_url=str(client.base_url)) as other:
        response = other.get("/readyz")
    assert response.status_code == 503
    assert "storage" in response.json()["detail"]


def test_the_version_names_the_service(client: TestClient) -> None:
    answer = client.get("/version").json()
    assert (answer["name"], answer["api"]) == ("Darkroom", "v1")
    assert answer["version"]


def test_the_openapi_document_describes_problems_and_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"ProblemBody", "Fault", "TextToImage", "JobOut"} <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]
    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {"submitJob", "getJob", "watchJob", "cancelJob", "retryJob", "getImageContent"} <= set(names)
