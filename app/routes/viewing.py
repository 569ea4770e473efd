"""What a contact sheet shows: the search and the filters in its address."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Request

from app.jobs.search import Search
from app.routes.finding import Asked

FILTERS = ("q", "favourite", "rating", "tag", "task", "deleted")


@dataclass(frozen=True, slots=True)
class View:
    """What the fields of the search say; "" is not said."""

    q: str = ""
    favourite: str = ""
    rating: str = ""
    tag: str = ""
    task: str = ""
    deleted: str = ""

    @property
    def search(self) -> Search:
        """The search they amount to.  Raises: BadSearch."""
        return Asked(
            q=self.q,
            favourite=True if self.favourite else None,
            rating=self.rating or None,
            tag=self.tag or None,
            task=self.task or None,
            deleted=bool(self.deleted),
        ).search

    @property
    def query(self) -> str:
        """The query that leads here; "" where nothing is said."""
        return self.with_cursor(None)

    def with_cursor(self, cursor: str | None) -> str:
        """The query of the page at `cursor`."""
        said = {name: value for name in FILTERS if (value := getattr(self, name))}
        return urlencode(said if cursor is None else {**said, "cursor": cursor})

    @property
    def is_narrow(self) -> bool:
        """Whether anything is looked for but everything."""
        return self != View()


def view(request: Request) -> View:
    """The view that the query asks for; a form sends its empty fields too."""
    return View(**{name: request.query_params.get(name, "").strip() for name in FILTERS})


Viewed = Annotated[View, Depends(view)]
