"""The form that sets a blind study up, and the study it amounts to."""

from dataclasses import dataclass
from random import Random
from typing import get_args

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.deps import House
from app.errors import Invalid
from app.faults import Fault
from app.jobs.store.studying import Kind, NewStudy, Pair
from app.study.drawing import pair_up
from app.study.pictures import REFERENCE, alike, reference

OFFERED = 96
MAX_PAIRS = 200
MAX_REPEATS = 50
MAX_NAME_CHARACTERS = 100
MAX_FILES = 50
MAX_BODY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """The form as it was sent.  `a` and `b` are ids of prints, `files` real pictures by their names."""

    name: str = ""
    kind: str = "real"
    repeats: str = "2"
    a: tuple[str, ...] = ()
    b: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A picture for a study: what it is a copy of, what it is about, its file."""

    name: str
    about: str
    data: bytes


async def wanted(request: Request) -> Wanted:
    """The form in the body."""
    async with request.form(max_files=MAX_FILES, max_fields=3 * OFFERED) as form:
        texts = {field: value.strip() for field, value in form.items() if isinstance(value, str)}
        a, b = (tuple(id for id in form.getlist(side) if isinstance(id, str)) for side in ("a", "b"))
        files = [value for value in form.getlist("real") if isinstance(value, UploadFile) and value.filename]
        read = [(_printable(str(file.filename)), await run_in_threadpool(file.file.read)) for file in files]
    said = {field: texts[field] for field in ("name", "kind", "repeats") if field in texts}
    return Wanted(**said, a=a, b=b, files=tuple(read))


def new_study(house: House, owner: str, form: Wanted, chance: Random) -> NewStudy:
    """The study that is asked for, its pictures copied into the storage, all of them alike.

    Raises: Invalid; BadPicture; NotFound.
    """
    kind = _kind(form)
    ours = [_print(house, owner, id) for id in form.a]
    if kind == "preferred":
        theirs = [_print(house, owner, id) for id in form.b]
    elif form.files:
        theirs = [_file(name, data) for name, data in form.files]
    else:
        theirs = [Source(f"scene:{name}", caption, b"") for name, caption in reference().items()]
        chance.shuffle(theirs)
    # Two that show the same are harder to tell apart, and fairer to compare.
    pairs = pair_up(ours, theirs, lambda source: source.about)[:MAX_PAIRS]
    pictures, (width, height) = alike([_data(source) for pair in pairs for source in pair])
    keys = house.store.studies.new_keys(len(pictures))
    for key, data in zip(keys, pictures, strict=True):
        house.storage.put(key, data)
    kept = tuple(
        Pair(a_key, a.name, b_key, b.name) for (a, b), a_key, b_key in zip(pairs, keys[::2], keys[1::2], strict=True)
    )
    return NewStudy(form.name, kind, width, height, int(form.repeats), kept)


def _kind(form: Wanted) -> Kind:
    """What kind of study is asked for, once the form can be one.  Raises: Invalid."""
    if not 0 < len(form.name) <= MAX_NAME_CHARACTERS or not form.name.isprintable():
        raise Invalid.of(Fault.of_field("name", f"must have 1 to {MAX_NAME_CHARACTERS} characters"))
    if not (form.repeats.isdecimal() and int(form.repeats) <= MAX_REPEATS):
        raise Invalid.of(Fault.of_field("repeats", f"must be a whole number from 0 to {MAX_REPEATS}"))
    if not form.a:
        raise Invalid.of(Fault.of_field("A", "must have at least one print: tick some below"))
    if form.kind == "preferred" and not form.b:
        raise Invalid.of(Fault.of_field("B", "must have at least one print: tick some below"))
    for kind in get_args(Kind):
        if kind == form.kind:
            return kind  # type: ignore[no-any-return]
    raise Invalid.of(Fault.of_field("kind", f"must be one of {', '.join(get_args(Kind))}"))


def _printable(name: str) -> str:
    # A file's name may hold anything, and PostgreSQL stores no NUL.
    return "".join(letter for letter in name if letter.isprintable())[:MAX_NAME_CHARACTERS]


def _print(house: House, owner: str, id: str) -> Source:
    image = house.store.image(id, owner)
    return Source(f"image:{id}", image.params.prompt, house.storage.get(image.key))


def _file(name: str, data: bytes) -> Source:
    from app.jobs.pictures import normalise

    return Source(f"file:{name}", "", normalise(data).data)


def _data(source: Source) -> bytes:
    return source.data or (REFERENCE / source.name.removeprefix("scene:")).read_bytes()
