"""The model that does nothing is a model like any other to the worker."""

import random

from app.jobs.queue import connect
from bench.quotes import alone_s, sleeping_service, wish


def test_a_job_for_it_is_made_on_the_real_store_and_engine_as_soon_as_it_has_slept() -> None:
    with sleeping_service() as (store, settings):
        with connect(settings.resolved_redis_url) as bell:
            assert alone_s(store, bell, wish(random.Random(1))) > 0
        (job,) = store.jobs(None).items
        assert job.state == "succeeded"
        assert job.timings is not None
        assert job.timings.denoise_s > 0
