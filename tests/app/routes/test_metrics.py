"""What Prometheus is told, and who may ask."""

from collections.abc import Callable, Mapping

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.jobs.store import Claim, Failed, Store

JOBS = "/api/v1/jobs"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """Both databases are asked."""
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


def scrape(client: TestClient, headers: Mapping[str, str] | None = None) -> dict[str, float]:
    """Every sample as Prometheus reads it, by its name and labels."""
    response = client.get("/metrics", headers=dict(headers or {}))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain")
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_an_empty_service_says_zero_and_not_nothing(client: TestClient) -> None:
    told = scrape(client)
    assert told["darkroom_queue_work_seconds model=storybook"] == 0
    assert told["darkroom_workers_alive model=storybook"] == 1
    for name in ("job_claims", "job_losses", "job_give_backs", "jobs_succeeded", "jobs_cancelled"):
        assert told[f"darkroom_{name}_total"] == 0


def test_work_is_told_from_the_queue_to_its_end(
    client: TestClient,
    store: Store,
    submit: Callable[..., dict[str, object]],
    claim: Callable[[], Claim],
    develop: Callable[[], object],
) -> None:
    submit()
    submit(priority="low")
    told = scrape(client)
    assert told["darkroom_queue_jobs model=storybook priority=normal"] == 1
    assert told["darkroom_queue_jobs model=storybook priority=low"] == 1
    assert 0 <= told["darkroom_queue_oldest_seconds model=storybook priority=low"] < 60
    assert told["darkroom_queue_work_seconds model=storybook"] == 2

    develop()
    failing = claim()
    told = scrape(client)
    assert told["darkroom_jobs_running model=storybook"] == 1
    assert told["darkroom_jobs_succeeded_total"] == 1
    assert told["darkroom_step_seconds model=storybook"] == pytest.approx(0.5 / 4)
    assert store.finish(failing, Failed("bad_params", "No."))
    store.sweep()
    told = scrape(client)
    assert told["darkroom_jobs_failed_total code=bad_params"] == 1
    assert told["darkroom_job_claims_total"] == 2
    assert "darkroom_jobs_running model=storybook" not in told


def test_workers_tell_their_devices_memory(client: TestClient, store: Store) -> None:
    store.worker_beat("worker-1", {"device": "cuda:1", "memory_bytes": 7, "memory_total_bytes": 80})
    told = scrape(client)
    assert told["darkroom_worker_memory_bytes device=cuda:1 worker=worker-1"] == 7
    assert told["darkroom_worker_memory_total_bytes device=cuda:1 worker=worker-1"] == 80


def test_requests_are_counted_by_route_and_never_by_path(client: TestClient) -> None:
    for job_id in ("0" * 32, "1" * 32):
        assert client.get(f"{JOBS}/{job_id}").status_code == 404
    client.get("/nobody/knows/this")
    client.get("/static/darkroom.css")
    client.get("/healthz", headers={"host": "evil.example"})
    client.request("BREW", "/healthz")
    told = scrape(client)
    counted = {name: count for name, count in told.items() if name.startswith("darkroom_http_requests_total")}
    assert counted == {
        f"darkroom_http_requests_total method=GET route={JOBS}/{{id}} status=404": 2,
        "darkroom_http_requests_total method=GET route=other status=404": 1,
        "darkroom_http_requests_total method=GET route=/static status=200": 1,
        "darkroom_http_requests_total method=GET route=other status=400": 1,
        "darkroom_http_requests_total method=other route=/healthz status=405": 1,
    }
    assert told[f"darkroom_http_request_seconds_count method=GET route={JOBS}/{{id}}"] == 2


def test_metrics_are_an_admins_once_there_are_keys(client: TestClient, store: Store) -> None:
    ann = {"Authorization": f"Bearer {store.keys.create('ann').token}"}
    root = {"Authorization": f"Bearer {store.keys.create('root', is_admin=True).token}"}
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=ann).status_code == 403
    assert scrape(client, root)["darkroom_workers_alive model=storybook"] == 1
