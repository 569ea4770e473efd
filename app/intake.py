"""Pictures that clients give: looked at, made plain, and stored before anything is promised about them."""

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.deps import House
from app.jobs import blobs
from app.jobs.failures import BadPicture, NoSuchFile, NotFound, SpecError
from app.jobs.spec import Given, Wish, split
from app.jobs.store import Upload

if TYPE_CHECKING:
    from app.jobs.pictures import Picture
    from app.jobs.recipe import Recipe


def upload(house: House, data: bytes, owner: str) -> Upload:
    """Keep a file for its owner to name.  Raises: BadPicture; QuotaReached; StoreUnavailable; StorageError."""
    return _uploaded(house, _plain(data), owner)


def keep(house: House, data: bytes, owner: str) -> Given:
    """Store a picture for a job that its owner asks for at once.

    It counts as an upload of theirs, once as long as that lasts, however often it is sent.
    Raises: BadPicture; Busy; QuotaReached; StoreUnavailable; StorageError.
    """
    picture = _plain(data)
    if house.store.has_uploaded(picture.given.sha256, owner):
        return blobs.keep(house.store, house.storage, picture).given
    return _uploaded(house, picture, owner).blob.given


def _uploaded(house: House, picture: "Picture", owner: str) -> Upload:
    # Asked before anything is written, so that nobody fills the storage with what is then refused.
    house.store.check_upload(owner, len(picture.data))
    return house.store.add_upload(blobs.keep(house.store, house.storage, picture).sha256, owner)


def fetch(house: House, wish: Wish, owner: str) -> dict[str, Given]:
    """What is known of every picture that the wish names, by role; from here on each of them is stored.

    Raises: SpecError naming the field whose picture is none, or not the owner's; QuotaReached; StoreUnavailable;
    StorageError.
    """

    def stored(kind: str, data: bytes) -> Given:
        # What lies here already is theirs; what comes with the wish is an upload like any other.
        if kind == "data":
            return keep(house, data, owner)
        return blobs.keep(house.store, house.storage, _plain(data)).given

    return {role: _given(house, role, reference, owner, stored) for role, reference in wish.references.items()}


def look_at(house: House, wish: Wish, owner: str) -> dict[str, Given]:
    """What is known of every picture that the wish names, by role; nothing is stored.  Raises: as `fetch`."""

    def seen(kind: str, data: bytes) -> Given:
        return _plain(data).given

    return {role: _given(house, role, reference, owner, seen) for role, reference in wish.references.items()}


def recipe(data: bytes) -> "Recipe":
    """The recipe that a picture says it was made from; nothing is kept.  Raises: BadPicture."""
    from app.jobs.recipe import NoRecipe, read

    try:
        return read(data)
    except NoRecipe as error:
        if error.__cause__ is not None:
            raise BadPicture("must be a whole PNG, JPEG or WebP file") from error
        places = "`parameters` of a PNG, the EXIF UserComment of a JPEG or WebP, or XMP as Darkroom writes it"
        raise BadPicture(f"must hold a recipe: {places}") from error
    except Exception as error:
        # Pillow's readers raise what they like about a file that is broken.
        raise BadPicture("must be a whole PNG, JPEG or WebP file") from error


def _given(house: House, role: str, reference: str, owner: str, known: Callable[[str, bytes], Given]) -> Given:
    kind, rest = split(reference)
    try:
        if kind == "upload":
            return house.store.upload(rest, owner).blob.given
        data = _decoded(rest) if kind == "data" else house.storage.get(house.store.image(rest, owner).key)
        return known(kind, data)
    except (NotFound, NoSuchFile) as error:
        lasting = "upload of yours that has not expired" if kind == "upload" else "image of yours"
        raise SpecError(role, f"{kind}:...", f"must name an {lasting}") from error
    except BadPicture as error:
        raise SpecError(role, f"{kind}:...", str(error)) from error


def _plain(data: bytes) -> "Picture":
    # Pillow takes a twentieth of the time the whole app needs to be imported, and many processes see no picture.
    from app.jobs.pictures import normalise

    return normalise(data)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPicture("must be a data URI in base64") from error
