"""Whatever is asked of whatever model: what is developed the model can do, and nothing it can do is nearer."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.dialects.sizing import NEAR, Plan, can_develop, nearest, plan
from app.jobs.catalogue import CatalogueEntry, ModelDefaults

sides = st.integers(1, 4096)


def model(native: tuple[int, int], least: int, most: int, multiple: int) -> CatalogueEntry:
    return CatalogueEntry(
        name="a model", revision="1", tasks=["text_to_image"], native_width=native[0], native_height=native[1],
        min_side=least, max_side=most, multiple=multiple, samplers=["ddim"], parameters=1, licence="MIT",
        defaults=ModelDefaults(steps=1, guidance_scale=1.0, sampler="ddim"), fingerprint="cpu",
    )  # fmt: skip


STORYBOOK = model((64, 64), 64, 128, 16)
DIFFUSION = model((512, 512), 256, 1024, 8)
LARGE = model((1536, 1536), 512, 2048, 64)


@st.composite
def models(draw: st.DrawFn) -> CatalogueEntry:
    """A model whose native size is one it offers."""
    multiple = draw(st.sampled_from([1, 8, 16, 64]))
    native = draw(st.integers(2, 20)) * multiple, draw(st.integers(2, 20)) * multiple
    least = draw(st.integers(1, min(native)))
    return model(native, least, draw(st.integers(max(native), 24 * multiple)), multiple)


def distance(size: tuple[int, int], asked: tuple[int, int], entry: CatalogueEntry) -> float:
    off = abs(math.log(size[0] * asked[1] / (size[1] * asked[0])))
    return 4 * off + abs(math.log(size[0] * size[1] / (entry.native_width * entry.native_height)))


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), models())
def test_nothing_that_the_model_offers_is_nearer_to_what_is_asked(
    asked: tuple[int, int], entry: CatalogueEntry
) -> None:
    found = nearest(asked, entry)
    assert can_develop(found, entry)
    offered = [side for side in range(entry.min_side, entry.max_side + 1) if side % entry.multiple == 0]
    if len(offered) <= 24:
        best = min(distance((width, height), asked, entry) for width in offered for height in offered)
        assert distance(found, asked, entry) == pytest.approx(best)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), models(), st.sets(st.sampled_from([2, 4])))
def test_a_plan_is_one_that_can_be_followed(asked: tuple[int, int], entry: CatalogueEntry, upscales: set[int]) -> None:
    made = plan(asked, entry, upscales)
    assert made.asked == asked
    assert can_develop(made.developed, entry)
    assert made.upscale in {1, *upscales}
    if made.upscale > 1:
        # a smaller factor would not have reached it
        smaller = max(factor for factor in {1, *upscales} if factor < made.upscale)
        assert any(side * smaller < wanted for side, wanted in zip(made.developed, asked, strict=True))


@settings(max_examples=60, deadline=None)
@given(models(), st.sets(st.sampled_from([2, 4])))
def test_the_native_size_is_developed_as_it_is(entry: CatalogueEntry, upscales: set[int]) -> None:
    native = entry.native_width, entry.native_height
    assert plan(native, entry, upscales) == Plan(native, native)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), models())
def test_only_the_proportions_decide_what_is_developed(asked: tuple[int, int], entry: CatalogueEntry) -> None:
    # floats round differently for twice the sides, so two sizes that are equally near may change places
    twice = 2 * asked[0], 2 * asked[1]
    assert distance(nearest(twice, entry), asked, entry) == pytest.approx(distance(nearest(asked, entry), asked, entry))


@pytest.mark.parametrize(
    ("entry", "asked", "upscales", "developed", "upscale"),
    [
        (STORYBOOK, (512, 512), (2, 4), (64, 64), 4),
        (STORYBOOK, (1024, 1024), (2, 4), (64, 64), 4),
        (STORYBOOK, (256, 256), (2, 4), (64, 64), 4),
        (STORYBOOK, (128, 128), (2, 4), (64, 64), 2),
        (STORYBOOK, (512, 512), (), (64, 64), 1),
        (STORYBOOK, (1536, 1024), (2, 4), (96, 64), 4),
        (STORYBOOK, (1792, 1024), (2, 4), (112, 64), 4),
        (STORYBOOK, (1024, 1792), (), (64, 112), 1),
        (STORYBOOK, (4096, 16), (2, 4), (128, 64), 4),
        (DIFFUSION, (512, 512), (2, 4), (512, 512), 1),
        (DIFFUSION, (768, 512), (2, 4), (768, 512), 1),
        (DIFFUSION, (1024, 1024), (2, 4), (512, 512), 2),
        # as large as the model goes, where nothing else makes it larger
        (DIFFUSION, (1024, 1024), (), (1024, 1024), 1),
        (DIFFUSION, (256, 256), (), (512, 512), 1),
        (DIFFUSION, (500, 500), (), (512, 512), 1),
        (DIFFUSION, (1792, 1024), (2, 4), (672, 384), 4),
        # four times as large would be more than anybody may have
        (LARGE, (4096, 4096), (2, 4), (1536, 1536), 2),
    ],
)  # fmt: skip
def test_what_clients_ask_for_is_developed_near_the_native_size(
    entry: CatalogueEntry,
    asked: tuple[int, int],
    upscales: tuple[int, ...],
    developed: tuple[int, int],
    upscale: int,
) -> None:
    assert plan(asked, entry, upscales) == Plan(asked, developed, upscale)


def test_near_means_half_to_twice_the_native_area() -> None:
    assert NEAR == 2
    assert plan((720, 720), DIFFUSION, (2,)).developed == (720, 720)
    assert plan((728, 728), DIFFUSION, (2,)).developed == (512, 512)
