"""What a request says it looks for: `q`, and a parameter for what is asked most, which all narrow it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.openapi.models import Example

from app.jobs.search import MAX_CHARACTERS, MAX_NAME_CHARACTERS, Filter, Search, narrowed, parse
from app.jobs.spec import MAX_SIDE, SEEDS, TASKS

_Q: dict[str, Example] = {
    "words": {"summary": "A word and a phrase of the prompt", "value": 'fox "in the snow"'},
    "fields": {"summary": "Fields", "value": "model:storybook steps:>20 rating:>=4 tag:print after:2026-01-31"},
}
_Word = Annotated[str | None, Query(max_length=MAX_NAME_CHARACTERS)]


def _about(description: str, *examples: str, **schema: Any) -> Any:
    made = {example: Example(value=example) for example in examples}
    return Query(
        max_length=MAX_NAME_CHARACTERS,
        description=description,
        json_schema_extra=schema or None,
        openapi_examples=made or None,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters that narrow a list of pictures."""

    q: Annotated[
        str | None,
        Query(
            max_length=MAX_CHARACTERS,
            description='words, "phrases", and fields: model: sampler: task: tag: seed: steps: width: height: rating: '
            "before: after:",
            openapi_examples=_Q,
        ),
    ] = None
    task: Annotated[str | None, _about("the task that made it", enum=list(TASKS))] = None
    model: Annotated[str | None, _about("the model's name")] = None
    seed: Annotated[int | None, Query(ge=0, lt=SEEDS, description="the picture's own seed")] = None
    sampler: Annotated[str | None, _about("the sampler's name")] = None
    tag: Annotated[str | None, _about("a tag of yours")] = None
    min_width: Annotated[int | None, Query(ge=1, le=MAX_SIDE, description="pixels, at least")] = None
    favourite: Annotated[bool | None, Query(description="only favourites, or only others")] = None
    rating: Annotated[str | None, _about("0 to 5 stars, or a bound", "5", ">=4")] = None
    after: Annotated[str | None, _about("made then or later: a day or a time, UTC", "2026-01-31")] = None
    before: Annotated[str | None, _about("made earlier", "2026-01-31T18:30:00Z")] = None
    deleted: Annotated[bool, Query(description="those that were deleted and can be restored, instead")] = False

    @property
    def search(self) -> Search:
        """What is looked for.  Raises: BadSearch."""
        said = parse(self.q or "")
        return Search(said.phrases, (*said.filters, *self._filters()), self.deleted)

    def _filters(self) -> Iterator[Filter]:
        for field in ("task", "model", "sampler", "tag", "rating", "after", "before"):
            text = getattr(self, field)
            if text is not None:
                yield narrowed(field, text)
        if self.seed is not None:
            yield Filter("seed", "=", self.seed)
        if self.min_width is not None:
            yield Filter("width", ">=", self.min_width)
        if self.favourite is not None:
            yield Filter("favourite", "=", self.favourite)


def search(asked: Annotated[Asked, Depends(Asked)]) -> Search:
    """What the request looks for.  Raises: BadSearch."""
    return asked.search


Sought = Annotated[Search, Depends(search)]
