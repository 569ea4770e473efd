"""Comparing: two prints, and what their recipes do not share."""

import re
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from app.jobs.store import Image, Job
from app.routes.comparing import differences

Submit = Callable[..., dict[str, Any]]
Develop = Callable[[], Job]


def made(submit: Submit, develop: Develop, **fields: object) -> Image:
    """A print of this recipe."""
    submit(**fields)
    return develop().images[0]


def test_only_what_differs_is_marked(client: TestClient, submit: Submit, develop: Develop) -> None:
    left = made(submit, develop, prompt="a red cat", seed=5)
    right = made(submit, develop, prompt="a <b>blue</b> cat", seed=5, steps=9)
    page = client.get(f"/compare?a={left.id}&b={right.id}").text
    marked = re.findall(r"<mark>([^<]+)</mark>", page)
    assert {"a red cat", "a &lt;b&gt;blue&lt;/b&gt; cat", "4", "9"} <= set(marked)
    assert "<td>5</td>" in page
    assert page.index(f"/api/v1/images/{left.id}") < page.index(f"/api/v1/images/{right.id}")


def test_what_only_one_recipe_has_is_a_difference(submit: Submit, develop: Develop) -> None:
    left, right = made(submit, develop, seed=1), made(submit, develop, seed=1, negative_prompt="rain")
    rows = {name: (one, other, differs) for name, one, other, differs in differences(left, right)}
    assert rows["Without"] == ("", "rain", True)
    assert rows["Seed"] == ("1", "1", False)
    assert not rows["Made"][2], "every print is made at another time"


def test_while_one_is_missing_there_is_a_choice(client: TestClient, submit: Submit, develop: Develop) -> None:
    assert "It takes two prints to compare" in client.get("/compare").text
    images = [made(submit, develop, seed=seed) for seed in (1, 2, 3)]
    page = client.get(f"/compare?a={images[0].id}").text
    assert re.search(rf'name="a" value="{images[0].id}" required checked', page)
    assert page.count('name="b"') == 3


def test_nobody_compares_the_prints_of_others(client: TestClient, submit: Submit, develop: Develop) -> None:
    image = made(submit, develop)
    assert client.get(f"/compare?a={image.id}&b={'0' * 32}").status_code == 404
    assert client.get("/compare?a=nonsense&b=nonsense").status_code == 422
