"""What a job would be, as it is told."""

from dataclasses import asdict
from typing import Self

from pydantic import Field

from app.jobs.spec import Params, cost
from app.jobs.store import Place
from app.schemas.answer import Answer


class RangeOut(Answer):
    """Seconds from now: half of all jobs take at most `p50`, nine of ten at most `p90`."""

    p50: float
    p90: float


class QuoteOut(Answer):
    """What a job would be if it were queued now."""

    position: int = Field(description="how many jobs would wait before it")
    start_s: RangeOut | None = Field(
        description="null while no worker serves its model, and while nobody knows how fast it is"
    )
    finish_s: RangeOut | None = Field(description="null as `start_s` is")
    cost: float = Field(description="pixels x steps x images: what shares and limits are counted in")

    @classmethod
    def of(cls, params: Params, place: Place) -> Self:
        """A job of these params, at its place in the queue."""
        start = finish = None
        if place.quote is not None:
            start, finish = RangeOut(**asdict(place.quote.start)), RangeOut(**asdict(place.quote.finish))
        return cls(position=place.position or 0, start_s=start, finish_s=finish, cost=cost(params))
