"""Jobs as pages show them: a card on the page that htmx fills, or the page of the job."""

from collections.abc import Sequence

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from app.deps import House
from app.jobs.store import Job, Place
from app.routes.rendering import Card, is_part, render


def cards(house: House, jobs: Sequence[Job]) -> list[Card]:
    """The jobs, with their places in the queue, when they will be done, and whether anybody serves them."""
    served = {model for worker in house.store.workers_alive() for model in worker.models}
    places = house.store.quotes.places(jobs)
    found = [(job, places.get(job.id, Place())) for job in jobs]
    return [Card(job, place.position, job.model in served, place.quote) for job, place in found]


def shown(request: Request, house: House, job: Job) -> Response:
    """The job's card where htmx asked, else the way to its page."""
    if is_part(request):
        return render(request, "_job.html", card=cards(house, [job])[0])
    return RedirectResponse(f"/jobs/{job.id}", status_code=303)
