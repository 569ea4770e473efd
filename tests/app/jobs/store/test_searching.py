"""Images are found by their words, facts and tags: in both databases the same ones, newest first."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import case, insert, select, text, update

from app.jobs.failures import BadCursor
from app.jobs.search import Filter, Search, parse, words
from app.jobs.store import Image, Opinion, searching
from app.jobs.tables import image_tags, images

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


def test_words_are_found_whole_whatever_their_case_and_accents(bench: Any, publish: Callable[..., Image]) -> None:
    for prompt in PROMPTS:
        publish(prompt)
    for query, which in {
        "cat": [5, 1, 0],
        "CAT red": [1, 0],
        '"red cat"': [0],
        '"cat red"': [1],
        "cats": [2],
        "foret": [3],
        "ÉTÉ l": [3],
        "16:9": [3],
        "9:16": [],
        "狐": [4],
        "森の": [4],
        "の森": [],
        "quoted 42": [5],
        "room": [5],
        "STRASSE and": [6],
        "roof": [6, 0],
        "roof -- nothing": [],
        "": [6, 5, 4, 3, 2, 1, 0],
    }.items():
        found = bench.store.gallery.search("local", parse(query)).items
        assert [image.params.prompt for image in found] == [PROMPTS[index] for index in which], query


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


@pytest.mark.parametrize("query", ["", "cat", "cat tag:t"])
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


def test_nobody_finds_what_is_somebody_elses_and_an_admin_finds_all(bench: Any, publish: Callable[..., Image]) -> None:
    theirs = publish("a cat", owner="bob")
    shouted = publish("a cat", owner="BOB")
    bench.store.gallery.tag([theirs.id, shouted.id], None, add=["t"])
    for query in ("", "cat", "tag:t", "cat tag:t", "seed:7", "rating:0"):
        owners = [
            [image.owner for image in bench.store.gallery.search(viewer, parse(query)).items]
            for viewer in ("local", "bob", "BOB", None)
        ]
        assert owners == [[], ["bob"], ["BOB"], ["BOB", "bob"]], query
    assert bench.store.gallery.tags("local") == []


def test_a_strange_cursor_is_refused(bench: Any) -> None:
    for query in ("", "cat", "tag:x"):
        with pytest.raises(BadCursor):
            bench.store.gallery.search("local", parse(query), cursor="1; DROP TABLE images")


def test_whatever_is_asked_finds_what_a_slow_reader_would_find(bench: Any, publish: Callable[..., Image]) -> None:
    image = publish()

    @hypothesis_settings(max_examples=80, deadline=None)
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


def test_words_that_many_images_have_are_found_as_others_are(
    bench: Any, publish: Callable[..., Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = ("cat steps:4", "cat tag:t", "cat seed:1", "cat tag:t seed:8 rating:0", "dog steps:4", '"cat a" steps:4')
    made = [publish("a cat", seed=seed) for seed in (7, 8, 7)]
    publish("a cat", owner="bob", seed=1)
    publish("a dog")
    bench.store.gallery.tag([made[0].id, made[1].id], "local", add=["t"])
    bench.store.gallery.delete([made[2].id], "local")

    def found() -> list[tuple[list[str], str | None]]:
        wanted = [*map(parse, queries), Search((("cat",),), is_deleted=True)]
        pages = [bench.store.gallery.search("local", each, 1, cursor) for each in wanted for cursor in (None, "2")]
        return [([image.id for image in page.items], page.next) for page in pages]

    one_by_one = found()
    assert len({str(each) for each in one_by_one}) > 3
    monkeypatch.setattr(searching, "_MANY", 1)
    assert found() == one_by_one


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
    if bench.engine.dialect.name == "sqlite":
        with bench.engine.begin() as connection:
            # Raises if FTS5 holds a word that no image has.
            connection.execute(text("INSERT INTO image_words (image_words, rank) VALUES ('integrity-check', 1)"))


BY_NUMBER = "images USING INTEGER PRIMARY KEY"


def test_sqlite_walks_an_index_in_the_order_of_the_list(bench: Any) -> None:
    if bench.engine.dialect.name != "sqlite":
        pytest.skip("this is about SQLite")
    shelf, words_first = "COVERING INDEX ix_images_shelf (owner=?", "image_words VIRTUAL TABLE INDEX"
    tag_first = "COVERING INDEX ix_image_tags_owner_tag_number (owner=? AND tag=?"
    for query, steps in {
        "": [shelf],
        "seed:7 steps:>3 after:2026-01-01": [shelf],
        "cat": [words_first, BY_NUMBER],
        "cat steps:>3 model:x": [words_first, BY_NUMBER],
        "tag:x": [tag_first, BY_NUMBER],
        "tag:x tag:y": [tag_first, BY_NUMBER, "(number=? AND tag=?)"],
        "tag:x cat steps:>3": [words_first, BY_NUMBER, "(number=? AND tag=?)"],
    }.items():
        for cursor in (None, "99"):
            _is_walked(_plan(bench, searching.numbers("sqlite", "local", parse(query), cursor)), steps)
    once = ["LIST SUBQUERY", "image_words VIRTUAL TABLE INDEX"]
    for query, steps in {"cat steps:>3": [shelf], "cat tag:x": [tag_first, BY_NUMBER]}.items():
        wanted = searching.numbers("sqlite", "local", parse(query), are_words_common=True)
        _is_walked(_plan(bench, wanted), [*steps, *once])


def _is_walked(plan: list[str], steps: list[str]) -> None:
    assert len(plan) == len(steps), plan
    for line, step in zip(plan, steps, strict=True):
        assert step in line, plan
    assert "TEMP B-TREE" not in " ".join(plan)


def test_postgresql_looks_up_what_few_have_and_walks_along_what_many_have(
    bench: Any, publish: Callable[..., Image]
) -> None:
    if bench.engine.dialect.name != "postgresql":
        pytest.skip("this is about PostgreSQL")
    crowd(bench, publish(), ("a rare word" if place % 400 == 0 else "a common word" for place in range(2000)))
    for query, step in {
        "": "Index Scan Backward",
        "common": "Index Scan Backward",
        "rare": "image_words",
        '"rare word" steps:>3': "image_words",
        "tag:few": "ix_image_tags_owner_tag_number",
    }.items():
        plan = " ".join(_plan(bench, searching.numbers("postgresql", "local", parse(query))))
        assert step in plan, plan
        assert "Seq Scan" not in plan, plan


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
        label = case((images.c.number % 400 == 0, "few"), else_="many")
        tagged = select(images.c.number, images.c.owner, label)
        connection.execute(insert(image_tags).from_select(["number", "owner", "tag"], tagged))
        connection.exec_driver_sql("ANALYZE")


def _plan(bench: Any, wanted: Any) -> list[str]:
    dialect = bench.engine.dialect
    explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    statement = str(wanted.limit(21).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    with bench.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}".replace("%%", "%")).all()
    return [str(row[-1]) for row in rows]
