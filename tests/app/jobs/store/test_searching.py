"""Images are found by their words, facts and tags: in both databases the same ones, newest first."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update

from app.jobs.failures import BadCursor
from app.jobs.search import Filter, Search, parse, words
from app.jobs.store import Image, Opinion
from app.jobs.store.searching import numbers
from app.jobs.tables import images

PROMPTS = (
    "a red cat on a roof",
    "a cat, red with anger",
    "Two Cats in the snow",
    "une forêt l'été, 16:9",
    "森の中の狐",
    "it's a well-lit room_42 -- 'quoted' & | ! <-> \\ (cat:1.2)",
    "straße NEAR(roof) AND OR NOT * ^",
)
OWNERS = ("local", "ann", "bob", "cid")
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@pytest.fixture
def publish(bench: Any) -> Callable[..., Image]:
    """Makes one image."""

    def make(prompt: str = "a cat", **fields: Any) -> Image:
        owner = fields.pop("owner", "local")
        bench.submit(owner=owner, prompt=prompt, **fields)
        claim = bench.claim()
        assert bench.store.finish(claim, bench.success(claim))
        image: Image = bench.store.get(claim.job_id, owner).images[0]
        return image

    return make


@pytest.fixture
def prompts(publish: Callable[..., Image]) -> list[Image]:
    """An image of each prompt, oldest first."""
    return [publish(prompt) for prompt in PROMPTS]


@pytest.fixture
def found(bench: Any) -> Callable[[str], list[str]]:
    """The prompts that a search finds."""
    return lambda query: [image.params.prompt for image in bench.store.gallery.search("local", parse(query)).items]


@pytest.mark.parametrize(
    ("query", "which"),
    [
        ("cat", [5, 1, 0]),
        ("CAT red", [1, 0]),
        ('"red cat"', [0]),
        ('"cat red"', [1]),
        ("cats", [2]),
        ("foret", [3]),
        ("ÉTÉ l", [3]),
        ("16:9", [3]),
        ("9:16", []),
        ("狐", [4]),
        ("森の", [4]),
        ("の森", []),
        ("quoted 42", [5]),
        ("room", [5]),
        ("STRASSE and", [6]),
        ("roof", [6, 0]),
        ("roof -- nothing", []),
        ("", [6, 5, 4, 3, 2, 1, 0]),
    ],
)
@pytest.mark.usefixtures("prompts")
def test_words_are_found_whole_whatever_their_case_and_accents(
    found: Callable[[str], list[str]], query: str, which: list[int]
) -> None:
    assert found(query) == [PROMPTS[index] for index in which]


def test_facts_opinions_and_tags_narrow(bench: Any, publish: Callable[..., Image]) -> None:
    gallery = bench.store.gallery
    small = publish("a cat", width=64, steps=4, seed=1)
    large = publish("a cat", width=256, steps=30, seed=2, sampler="ddpm")
    other = publish("a dog", width=128, steps=20, seed=3)
    gallery.judge(small.id, "local", Opinion(rating=5, tags=("best", "for print")))
    gallery.judge(large.id, "local", Opinion(favourite=True, rating=3, tags=("best",)))

    def ids(query: str, *filters: Filter) -> list[str]:
        return [image.id for image in gallery.search("local", parse(query).where(*filters)).items]

    for query, which in {
        "width:>64": [other, large],
        "width:256": [large],
        "height:<=128": [other, large, small],
        "steps:>=20 steps:<30": [other],
        "seed:2": [large],
        "sampler:ddpm": [large],
        "model:storybook": [other, large, small],
        "model:STORYBOOK": [],
        "task:inpaint": [],
        "rating:>=4": [small],
        "rating:0": [other],
        "tag:best": [large, small],
        "tag:BEST tag:'": [],
        'tag:"for print" tag:best': [small],
        'tag:"for print" seed:2': [],
        "tag:best cat": [large, small],
        'cat tag:"for print" tag:best steps:4': [small],
        "dog tag:best": [],
        "cat steps:>4": [large],
        "before:2001-01-01": [],
        "after:2001-01-01": [other, large, small],
    }.items():
        if "'" not in query:
            assert ids(query) == [image.id for image in which], query
    assert ids("", Filter("favourite", "=", True)) == [large.id]
    assert ids("cat", Filter("favourite", "=", False)) == [small.id]
    assert gallery.tags("local") == [("best", 2), ("for print", 1)]


@pytest.mark.parametrize("query", ["", "cat", "tag:t", "cat tag:t", "steps:4"])
def test_pages_follow_each_other_without_gaps_whatever_comes_meanwhile(
    bench: Any, publish: Callable[..., Image], query: str
) -> None:
    made = [publish("a cat") for _ in range(5)]
    bench.store.gallery.tag([image.id for image in made], "local", add=["t"])
    seen, cursor = [], None
    for size in (2, 2, 1):
        page = bench.store.gallery.search("local", parse(query), 2, cursor)
        assert len(page.items) == size
        seen += [image.id for image in page.items]
        cursor = page.next
        late = publish("a cat")
        bench.store.gallery.tag([late.id], "local", add=["t"])
    assert cursor is None
    assert seen == [image.id for image in reversed(made)]


@pytest.mark.parametrize("query", ["", "cat", "tag:t", "cat tag:t", "seed:7", "rating:0"])
def test_nobody_finds_what_is_somebody_elses_and_an_admin_finds_all(
    bench: Any, publish: Callable[..., Image], query: str
) -> None:
    theirs = publish("a cat", owner="bob")
    shouted = publish("a cat", owner="BOB")
    bench.store.gallery.tag([theirs.id, shouted.id], None, add=["t"])

    def owners(viewer: str | None) -> list[str]:
        return [image.owner for image in bench.store.gallery.search(viewer, parse(query)).items]

    assert [owners(viewer) for viewer in ("local", "bob", "BOB", None)] == [[], ["bob"], ["BOB"], ["BOB", "bob"]]
    assert bench.store.gallery.tags("local") == []


@pytest.mark.parametrize("query", ["", "cat", "tag:x"])
def test_a_strange_cursor_is_refused(bench: Any, query: str) -> None:
    with pytest.raises(BadCursor):
        bench.store.gallery.search("local", parse(query), cursor="1; DROP TABLE images")


def test_whatever_is_asked_finds_what_a_slow_reader_would_find(bench: Any, publish: Callable[..., Image]) -> None:
    image = publish()

    @hypothesis_settings(max_examples=150, deadline=None)
    @given(prompt=st.text(LETTERS, max_size=30), stranger=st.text(LETTERS, max_size=12), start=st.integers(0, 30))
    def ask(prompt: str, stranger: str, start: int) -> None:
        with bench.engine.begin() as connection:
            connection.execute(update(images).values(words=words(prompt)))
        for query in (prompt[start : start + 8], stranger):
            asked = words(query)
            page = bench.store.gallery.search("local", Search((asked,) if asked else ()))
            assert [found.id for found in page.items] == [image.id] * _is_in(asked, words(prompt)), (prompt, query)

    ask()


def _is_in(phrase: tuple[str, ...], prompt: tuple[str, ...]) -> bool:
    size = len(phrase)
    return any(prompt[start : start + size] == phrase for start in range(len(prompt) - size + 1))


def test_what_is_removed_leaves_no_word_behind(bench: Any, publish: Callable[..., Image]) -> None:
    publish("a cat")
    with bench.engine.begin() as connection:
        connection.execute(text("DELETE FROM images"))
    assert bench.store.gallery.search("local", parse("cat")).items == ()
    again = publish("a dog")
    with bench.engine.begin() as connection:
        connection.execute(update(images).values(words=words("a horse")))
    assert bench.store.gallery.search("local", parse("dog")).items == ()
    assert [image.id for image in bench.store.gallery.search("local", parse("horse")).items] == [again.id]


@pytest.mark.parametrize(
    ("query", "steps"),
    [
        ("", ["COVERING INDEX ix_images_shelf (owner=?"]),
        ("seed:7 steps:>3 after:2026-01-01", ["COVERING INDEX ix_images_shelf (owner=?"]),
        ("cat", ["image_words VIRTUAL TABLE INDEX", "images USING INTEGER PRIMARY KEY"]),
        ("cat steps:>3 model:x", ["image_words VIRTUAL TABLE INDEX", "images USING INTEGER PRIMARY KEY"]),
        ("tag:x", ["ix_image_tags_owner_tag_number (owner=? AND tag=?", "images USING INTEGER PRIMARY KEY"]),
        (
            "tag:x cat steps:>3",
            ["image_words VIRTUAL TABLE INDEX", "images USING INTEGER PRIMARY KEY", "(number=? AND tag=?)"],
        ),
    ],
)
@pytest.mark.parametrize("cursor", [None, "99"])
def test_sqlite_walks_an_index_in_the_order_of_the_list(
    bench: Any, query: str, steps: list[str], cursor: str | None
) -> None:
    if bench.engine.dialect.name != "sqlite":
        pytest.skip("this is about SQLite")
    plan = _plan(bench, query, cursor, "EXPLAIN QUERY PLAN")
    assert len(plan) == len(steps), plan
    for line, step in zip(plan, steps, strict=True):
        assert step in line
    assert "TEMP B-TREE" not in " ".join(plan)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("", "ix_images_shelf"),
        ("common", "ix_images_shelf"),
        ("rare", "image_words"),
        ('"rare word" steps:>3', "image_words"),
        ("tag:x", "ix_image_tags_owner_tag_number"),
    ],
)
def test_postgresql_takes_the_index_that_leads_to_least(
    bench: Any, publish: Callable[..., Image], query: str, index: str
) -> None:
    if bench.engine.dialect.name != "postgresql":
        pytest.skip("this is about PostgreSQL")
    crowd(bench, publish(), ("a rare word" if place % 400 == 0 else "a common word" for place in range(2000)))
    plan = " ".join(_plan(bench, query, None, "EXPLAIN"))
    assert index in plan, plan
    assert "Seq Scan" not in plan


def crowd(bench: Any, image: Image, prompts: Iterable[str]) -> None:
    """Put a copy of the image for each prompt beside it, one in four of its owner's; let the database count them."""
    with bench.engine.begin() as connection:
        row = dict(connection.execute(select(images).where(images.c.id == image.id)).mappings().one())
        del row["number"]
        copies = [
            row | {"id": f"{place:032x}", "index": place, "owner": OWNERS[place % 4], "words": words(prompt)}
            for place, prompt in enumerate(prompts, 4)
        ]
        connection.execute(insert(images), copies)
        connection.exec_driver_sql("ANALYZE")


def _plan(bench: Any, query: str, cursor: str | None, explain: str) -> list[str]:
    dialect = bench.engine.dialect
    wanted = numbers(dialect.name, "local", parse(query), cursor).limit(21)
    with bench.engine.begin() as connection:
        statement = str(wanted.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        rows = connection.exec_driver_sql(f"{explain} {statement}".replace("%%", "%")).all()
    return [str(row[-1]) for row in rows]
