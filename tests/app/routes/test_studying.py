"""A blind study from the first tick to the sheet of answers, without JavaScript; and that it is blind."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pixels

from app.jobs.failures import StoreUnavailable
from app.jobs.orphans import remove_orphans
from app.jobs.settings import Settings
from app.jobs.storage import open_storage
from app.jobs.store import Job, Store, open_store
from app.jobs.store.studies import Studies
from app.jobs.store.studying import NewStudy
from app.study.pictures import REFERENCE, reference
from tests.app.pictures import photo

BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
# What makes a form multipart where no file is chosen.
NO_FILE = {"real": ("", b"", "application/octet-stream")}

Make = Callable[..., str]


@pytest.fixture
def prints(submit: Callable[..., Any], develop: Callable[[], Job]) -> list[str]:
    """The ids of six prints of two recipes, as PNG and as JPEG."""
    submit(num_images=3, prompt="a red cat")
    ids = [image.id for image in develop().images]
    submit(num_images=3, prompt="a red cat", format="jpeg", width=192)
    return [*ids, *(image.id for image in develop().images)]


@pytest.fixture
def make(client: TestClient) -> Make:
    """Sets a study up; returns the path of its page."""

    def make(**fields: object) -> str:
        response = client.post("/study", data={"name": "Cats", "repeats": "1", **fields}, files=NO_FILE)
        assert response.status_code == 303, response.text
        return str(response.headers["location"])

    return make


def begin(client: TestClient, study: str, rater: str = "ann") -> str:
    """The page of a new rater."""
    response = client.post(f"{study}/raters", data={"rater": rater})
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


def answer(client: TestClient, page: str, choice: str) -> None:
    """Answer what the page asks."""
    action = re.search(r'action="(/study/[0-9a-f]{32}/trials/[0-9a-f]{32})"', page)
    assert action
    assert client.post(action[1], data={"choice": choice}).status_code == 303


def rows_of(client: TestClient, study: str) -> list[dict[str, str]]:
    """The sheet of answers."""
    response = client.get(f"{study}/answers.csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in response.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(response.text)))


def test_a_study_of_two_groups_is_answered_counted_and_listed(
    client: TestClient, make: Make, prints: list[str]
) -> None:
    study = make(kind="preferred", a=prints[:3], b=prints[3:])
    rater = begin(client, study)
    seen = []
    for _ in range(4):
        page = client.get(rater).text
        assert "Which of the two do you prefer?" in page
        seen += re.findall(r'src="(/study/pictures/[0-9a-f]{32})"', page)
        answer(client, page, "left")
    assert "Thank you" in client.get(rater).text
    for path in ("/study", study, rater, begin(client, study, "ben")):
        page = client.get(path).text
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", page)
    assert len(set(seen)) == 8, "every picture has a new name each time it is shown"

    rows = rows_of(client, study)
    assert len(rows) == 4
    counted = [row for row in rows if row["is_repeat"] == "False"]
    assert {row["left"] for row in counted} | {row["right"] for row in counted} == {f"image:{id}" for id in prints}
    assert all(row["chosen"] == row["left"] for row in rows)
    wins = sum(row["winner"] == "a" for row in counted)
    # The repeated pair came with its sides changed: who always says left, contradicts himself.
    page = client.get(study).text
    assert f"<strong>{100 * wins / 3:.0f} %</strong>" in page
    assert "0 % of the repeated pairs got the same answer" in page


def test_prints_are_shown_beside_real_pictures_of_the_same_thing(
    client: TestClient, submit: Callable[..., Any], develop: Callable[[], Job], make: Make
) -> None:
    caption = reference()["9000000.png"]
    submit(prompt=caption, width=64, height=64)
    study = make(kind="real", a=[develop().images[0].id])
    rater = begin(client, study)
    page = client.get(rater).text
    assert "Which of the two is real?" in page
    answer(client, page, "tie")
    (row,) = rows_of(client, study)
    scenes = [row[side].removeprefix("scene:") for side in ("left", "right") if row[side].startswith("scene:")]
    assert [reference()[scene] for scene in scenes] == [caption]
    assert (row["choice"], row["chosen"], row["winner"]) == ("tie", "", "tie")


def test_real_pictures_may_be_ones_own(client: TestClient, prints: list[str]) -> None:
    files = [("real", ("one.png", photo(), "image/png")), ("real", ("two.jpg", photo(format="JPEG"), "image/jpeg"))]
    fields = {"name": "Own", "kind": "real", "repeats": "0", "a": prints[:3]}
    study = client.post("/study", data=fields, files=files).headers["location"]
    rater = begin(client, study)
    for _ in range(2):
        answer(client, client.get(rater).text, "right")
    real = {row[side] for row in rows_of(client, study) for side in ("left", "right")} - {
        f"image:{id}" for id in prints
    }
    assert real == {"file:one.png", "file:two.jpg"}


def test_nothing_but_what_is_on_a_picture_tells_what_it_is(client: TestClient, make: Make, prints: list[str]) -> None:
    study = make(kind="real", a=prints)
    rater = begin(client, study)
    headers, sizes = [], set()
    for _ in range(3):
        page = client.get(rater).text
        assert not any(id in page for id in prints)
        assert "scene" not in page
        assert ".png" not in page.replace("icon", "")
        for path in re.findall(r'src="(/study/pictures/[0-9a-f]{32})"', page):
            response = client.get(path)
            names = ("content-length", "content-type", "cache-control", "etag", "last-modified", "content-disposition")
            headers.append(tuple(response.headers.get(name) for name in names))
            shown = Pixels.open(io.BytesIO(response.content))
            sizes.add((shown.size, shown.mode, tuple(shown.info)))
        answer(client, page, "left")
    assert len(headers) == 6
    assert len(set(headers)) == 1, headers
    assert headers[0][3:] == (None, None, None)
    assert sizes == {((64, 64), "RGB", ())}


def test_an_answer_is_given_once(client: TestClient, make: Make, prints: list[str]) -> None:
    study = make(kind="preferred", a=prints[:1], b=prints[3:4])
    page = client.get(begin(client, study)).text
    answer(client, page, "left")
    answer(client, page, "right")
    assert [row["choice"] for row in rows_of(client, study)] == ["left"]


def test_a_study_outlasts_its_prints_and_can_be_deleted(
    client: TestClient, settings: Settings, store: Store, make: Make, prints: list[str]
) -> None:
    study = make(kind="preferred", a=prints[:1], b=prints[3:4])
    page = client.get(begin(client, study)).text
    path = re.findall(r'src="(/study/pictures/[0-9a-f]{32})"', page)[0]
    storage = open_storage(settings.resolved_storage_url)
    storage.delete(store.image(prints[0], "local").key)
    assert client.get(path).status_code == 200
    assert client.post(f"{study}/delete").headers["location"] == "/study"
    assert client.get(path).status_code == 404
    assert client.get(study).status_code == 404
    assert list(storage.list("studies")) == []


def test_pictures_whose_study_could_not_be_committed_are_swept_away(
    client: TestClient, settings: Settings, prints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def goes_away(studies: Studies, owner: str, new: NewStudy) -> str:
        raise StoreUnavailable("away")

    monkeypatch.setattr(Studies, "create", goes_away)
    fields = {"name": "Cats", "kind": "preferred", "a": prints[:1], "b": prints[3:4]}
    assert client.post("/study", data=fields, files=NO_FILE).status_code == 503
    storage = open_storage(settings.resolved_storage_url)
    assert len(list(storage.list("studies"))) == 2
    later = open_store(settings.model_copy(update={"unpinned_s": 0.001}))
    assert remove_orphans(later, storage) == 2
    later.close()
    assert list(storage.list("studies")) == []


def test_nobody_sees_the_studies_of_others(client: TestClient, store: Store, make: Make, prints: list[str]) -> None:
    study = make(kind="preferred", a=prints[:1], b=prints[3:4])
    rater = begin(client, study)
    page = client.get(rater).text
    picture = re.findall(r'src="(/study/pictures/[0-9a-f]{32})"', page)[0]
    action = re.findall(r'action="(/study/[0-9a-f]{32}/trials/[0-9a-f]{32})"', page)[0]
    others = {"authorization": f"Bearer {store.keys.create('somebody').token}"}
    for path in (study, rater, picture, f"{study}/answers.csv"):
        assert client.get(path, headers=others).status_code == 404
    for path, data in ((action, {"choice": "left"}), (f"{study}/raters", {"rater": "me"}), (f"{study}/delete", {})):
        assert client.post(path, data=data, headers=others).status_code == 404
    assert "Cats" not in client.get("/study", headers=others).text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "name must have 1 to 100 characters"),
        ({"repeats": "many"}, "repeats must be a whole number"),
        ({"kind": "real"}, "A must have at least one print"),
        ({"kind": "preferred", "a": ["0" * 32]}, "B must have at least one print"),
        ({"kind": "real", "a": ["0" * 32]}, "No such thing is known here"),
        ({"kind": "other", "a": ["0" * 32]}, "kind must be one of real, preferred"),
    ],
)
def test_what_is_wrong_with_a_study_is_said(
    client: TestClient, store: Store, prints: list[str], fields: dict[str, Any], said: str
) -> None:
    response = client.post("/study", data={"name": "Cats", "repeats": "1", **fields}, files=NO_FILE, headers=BROWSER)
    assert response.status_code == 422
    assert said in response.text
    assert store.studies.all("local") == []


def test_names_cannot_inject_anything(client: TestClient, make: Make, prints: list[str]) -> None:
    study = make(name=HOSTILE[:100], kind="preferred", a=prints[:1], b=prints[3:4])
    rater = begin(client, study, HOSTILE[:80])
    answer(client, client.get(rater).text, "left")
    formula = begin(client, study, "=1+1")
    answer(client, client.get(formula).text, "left")
    for path in ("/study", study, rater):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert client.post(f"{study}/raters", data={"rater": "a\0b"}).status_code == 422
    assert {row["rater"] for row in rows_of(client, study)} == {HOSTILE[:80], "'=1+1"}


def test_the_reference_set_is_whole_and_small() -> None:
    files = sorted(path.name for path in REFERENCE.glob("*.png"))
    assert files == sorted(reference())
    assert len(files) == 200
    assert sum((REFERENCE / name).stat().st_size for name in files) <= 1_500_000
    with Pixels.open(REFERENCE / files[0]) as first:
        assert first.size == (64, 64)
