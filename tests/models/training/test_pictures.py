"""Pictures: pixels are where the boxes say, everywhere else is backdrop, and drawing is quick."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from time import process_time

import numpy as np
import pytest

from models.training.contact_sheet import contact_sheet
from models.training.domain import SPLITS, Scene
from models.training.pictures import backdrop_pixels, pixel_box, render, sample
from models.training.scenes import draw_scene
from models.training.stages import STAGES

STAGE_NAMES = tuple(STAGES)
DIGEST = """
from hashlib import sha256
from models.training.pictures import sample
from models.training.stages import STAGES
samples = [sample(seed, stage, 64, "train") for stage in STAGES.values() for seed in range(30)]
pictures = [one.picture.tobytes() for one in samples]
print(sha256(b"".join(pictures)).hexdigest())
"""


def without_shadows(scene: Scene) -> Scene:
    return replace(scene, items=tuple(replace(item, casts_shadow=False) for item in scene.items))


def test_another_process_draws_the_same_pictures():
    pictures = [sample(seed, stage, 64, "train").picture.tobytes() for stage in STAGES.values() for seed in range(30)]
    here = sha256(b"".join(pictures)).hexdigest()
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


@pytest.mark.parametrize("size", [32, 64, 128, 200])
def test_a_sample_holds_a_picture_its_caption_and_a_box_for_each_thing(size: int):
    for seed in range(40):
        one = sample(seed, STAGES["c"], size, "train")
        scene = draw_scene(seed, STAGES["c"], "train")
        assert one.picture.shape == (size, size, 3)
        assert one.picture.dtype == np.uint8
        assert one.boxes.shape == (len(scene.items), 4)
        assert one.boxes.dtype == np.float32
        assert one.object_ids == tuple(item.thing.name for item in scene.items)
        assert one.caption == scene.caption


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("name", STAGE_NAMES)
def test_boxes_contain_every_pixel_of_their_things_and_no_more_than_their_edges(name: str, size: int):
    for seed in range(120):
        scene = without_shadows(draw_scene(seed, STAGES[name], "train"))
        boxes = np.rint(sample(seed, STAGES[name], size, "train").boxes * size).astype(int)
        backdrop = backdrop_pixels(scene.backdrop, scene.variant, size)
        asked = np.array([(item.x0, item.y0, item.x1, item.y1) for item in scene.items]) * size
        assert np.abs(boxes - asked).max() <= 1.0
        changed = np.any(render(scene, size) != backdrop, axis=-1)  # (h, w)
        outside = changed.copy()
        for x0, y0, x1, y1 in boxes:
            outside[y0:y1, x0:x1] = False
            inside = changed[y0:y1, x0:x1]
            # a soft tip may be a pixel short of the edge, or two where it fades out
            assert inside.any(axis=1).sum() >= y1 - y0 - 2
            assert inside.any(axis=0).sum() >= x1 - x0 - 2
        assert not outside.any()


def test_a_standing_thing_darkens_the_ground_under_it_and_nothing_else():
    scenes = [draw_scene(seed, STAGES["a"], "train") for seed in range(60)]
    standing = [scene for scene in scenes if scene.items[0].casts_shadow]
    assert standing
    assert all(scene.backdrop.has_ground and not scene.items[0].thing.flies for scene in standing)
    for scene in standing:
        _, y0, _, y1 = pixel_box(scene.items[0], 64)
        with_shadow, plain = render(scene, 64).astype(int), render(without_shadows(scene), 64).astype(int)
        assert (with_shadow <= plain).all()
        assert (with_shadow < plain).any()
        assert (with_shadow[: (y0 + y1) // 2] == plain[: (y0 + y1) // 2]).all()


def test_drawing_does_not_change_the_backdrop_it_draws_on():
    scene = draw_scene(0, STAGES["a"], "train")
    before = backdrop_pixels(scene.backdrop, scene.variant, 64).copy()
    first, second = render(scene, 64), render(scene, 64)
    assert (backdrop_pixels(scene.backdrop, scene.variant, 64) == before).all()
    assert (first == second).all()
    with pytest.raises(ValueError, match="read-only"):
        backdrop_pixels(scene.backdrop, scene.variant, 64)[0, 0] = 0


def test_every_backdrop_looks_unlike_every_other():
    backdrops = STAGES["c"].backdrops
    means = [backdrop_pixels(backdrop, 0, 32).astype(float).reshape(4, 8, 32, 3).mean((1, 2)) for backdrop in backdrops]
    for k, one in enumerate(means):
        for other, backdrop in zip(means[:k], backdrops, strict=False):
            assert np.abs(one - other).max() > 12, (backdrops[k].name, backdrop.name)


def test_the_same_scene_looks_the_same_at_another_size():
    for seed in range(30):
        scene = draw_scene(seed, STAGES["a"], "train")
        small = render(scene, 64).astype(float)
        large = render(scene, 128).astype(float).reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(small - large).mean() < 6


@pytest.mark.parametrize("split", SPLITS)
def test_a_core_draws_hundreds_of_scenes_a_second(split: str):
    for seed in range(200):
        sample(seed, STAGES["c"], 128, split)
    start = process_time()
    for seed in range(1000, 1400):
        sample(seed, STAGES["c"], 128, split)
    # 1,200 a second where nothing else runs; processor time, and a bound that a busy machine keeps too
    assert 400 / (process_time() - start) > 250


def test_a_contact_sheet_shows_every_picture_in_its_place():
    pictures = [np.full((16, 16, 3), shade, dtype=np.uint8) for shade in (10, 20, 30, 40, 50)]
    sheet = np.asarray(contact_sheet(pictures, 2, ["one", "two", "three", "four", "five"]))
    shades = [np.argwhere((sheet == picture[0, 0]).all(-1)) for picture in pictures]
    assert all(len(places) >= 256 for places in shades)
    corners = [tuple(places.min(0)) for places in shades]
    assert corners == sorted(corners)
    assert corners[0][0] == corners[1][0] < corners[2][0] == corners[3][0] < corners[4][0]


@pytest.mark.parametrize(
    ("count", "columns", "captions", "named"),
    [(0, 2, None, "got 0 and 2"), (2, 0, None, "got 2 and 0"), (2, 2, ["one"], "got 1 for 2 pictures")],
)
def test_a_contact_sheet_refuses_what_it_cannot_lay_out(count, columns, captions, named):
    pictures = [np.zeros((8, 8, 3), dtype=np.uint8)] * count
    with pytest.raises(ValueError, match=named):
        contact_sheet(pictures, columns, captions)


def test_a_contact_sheet_refuses_pictures_of_different_sizes():
    with pytest.raises(ValueError, match="must have one size"):
        contact_sheet([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], 2)
