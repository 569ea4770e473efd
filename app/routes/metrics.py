"""What Prometheus asks for: the service as the database knows it, and the traffic of this process.

Everything of the database is the same whichever process is asked, and its counts go on over every restart.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.deps import Asking, Inside
from app.errors import Forbidden, Unavailable, documented
from app.jobs.failures import StoreUnavailable
from app.jobs.store import State, Worker
from app.jobs.store.measuring import Measured
from app.traffic import Traffic

PATH = "/metrics"

router = APIRouter(tags=["operations"], responses=documented(Unavailable))

_ENDS = (State.SUCCEEDED, State.CANCELLED)


@router.get(PATH, operation_id="getMetrics", response_class=Response, responses=documented(Forbidden))
def metrics(request: Request, house: Inside, asking: Asking) -> Response:
    """Queue, workers and work in Prometheus' text format.  Once there are keys, this needs an admin's."""
    if house.store.keys.exist() and not asking.is_admin:
        raise Forbidden("Only an admin may see the metrics: `darkroom keys create NAME --admin`.")
    try:
        measured = house.store.ledger.measure()
    except StoreUnavailable:
        raise Unavailable("The database does not answer.") from None
    traffic: Traffic = request.app.state.traffic
    registry = CollectorRegistry()
    registry.register(_Told(measured))
    text = generate_latest(registry) + generate_latest(traffic.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Told(Collector):
    """What was measured, as families of metrics."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        yield from _queue(self._measured)
        yield from _work(self._measured)
        yield from _workers(self._measured.workers)


def _queue(measured: Measured) -> Iterator[Metric]:
    kinds = ["priority", "model"]
    jobs = GaugeMetricFamily("darkroom_queue_jobs", "Jobs that wait.", labels=kinds)
    oldest = GaugeMetricFamily("darkroom_queue_oldest_seconds", "How long the oldest has waited.", labels=kinds)
    work = GaugeMetricFamily(
        "darkroom_queue_work_seconds",
        "How long one worker would take for what waits, at the pace of the last jobs: scale workers by this.",
        labels=["model"],
    )
    work_s: dict[str, float] = defaultdict(float)
    for each in measured.waiting:
        jobs.add_metric([each.priority, each.model], each.jobs)
        oldest.add_metric([each.priority, each.model], each.oldest_s)
        work_s[each.model] += each.work_s
    models = {each.model for each in measured.waiting} | {name for one in measured.workers for name in one.models}
    for model in sorted(models):
        work.add_metric([model], work_s[model])
    yield from (jobs, oldest, work)
    running = GaugeMetricFamily("darkroom_jobs_running", "Jobs that a worker holds.", labels=["model"])
    for model, count in sorted(measured.running.items()):
        running.add_metric([model], count)
    yield running


def _work(measured: Measured) -> Iterator[Metric]:
    for what, sentence in (
        ("claims", "Attempts that a worker began."),
        ("losses", "Attempts whose worker fell silent."),
        ("give_backs", "Attempts that a worker gave back through no fault of the job."),
    ):
        yield CounterMetricFamily(f"darkroom_job_{what}", sentence, value=measured.counts.get((what, ""), 0))
    ended = {kind: count for (what, kind), count in sorted(measured.counts.items()) if what == "ended"}
    for state in _ENDS:
        yield CounterMetricFamily(f"darkroom_jobs_{state}", f"Jobs that have {state}.", value=ended.pop(state, 0))
    failed = CounterMetricFamily("darkroom_jobs_failed", "Jobs that have failed, by their error.", labels=["code"])
    for code, count in ended.items():
        failed.add_metric([code], count)
    yield failed
    step = GaugeMetricFamily(
        "darkroom_step_seconds", "A denoising step in the last jobs, on average.", labels=["model"]
    )
    for model, pace in sorted(measured.paces.items()):
        step.add_metric([model], pace.step_s)
    yield step


def _workers(workers: Iterable[Worker]) -> Iterator[Metric]:
    alive = GaugeMetricFamily("darkroom_workers_alive", "Workers that live and offer the model.", labels=["model"])
    offers = Counter(model for worker in workers for model in worker.models)
    for model, count in sorted(offers.items()):
        alive.add_metric([model], count)
    yield alive
    for fact, name, sentence in (
        ("memory_bytes", "darkroom_worker_memory_bytes", "Device memory that the worker has taken."),
        ("memory_total_bytes", "darkroom_worker_memory_total_bytes", "Memory of the worker's device."),
    ):
        family = GaugeMetricFamily(name, sentence, labels=["worker", "device"])
        for worker in workers:
            told = worker.facts.get(fact)
            if isinstance(told, int | float):
                family.add_metric([worker.name, str(worker.facts.get("device", ""))], told)
        yield family
