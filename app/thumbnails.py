"""Thumbnails.  The smallest is published with its picture; the others are made when somebody first asks for them."""

from app.deps import House
from app.jobs.failures import NoSuchFile, NotFound
from app.jobs.storage import thumbnail_of
from app.jobs.store import Image

PUBLISHED_SIDE = 256
SIDES = (PUBLISHED_SIDE, 512, 1024)


def key_of(image: Image, side: int) -> str:
    """Where the thumbnail lies, once it is made.  A picture that fits into the published one needs no other."""
    if side == PUBLISHED_SIDE or max(image.width, image.height) <= PUBLISHED_SIDE:
        return image.thumbnail_key
    return thumbnail_of(image.key, side)


def make(house: House, image: Image, side: int) -> None:
    """Make the thumbnail.  Several may do so at once: it comes out the same.

    Its row is written before its file: a file that no row names is swept away.  If the file is never written, or
    lost, the next who asks makes it again.
    Raises: NoSuchFile; NotFound; Busy; StoreUnavailable; StorageError.
    """
    # Pillow takes a twentieth of the time the whole app needs to be imported, and many processes see no picture.
    from app.jobs.pictures import thumbnail

    key = key_of(image, side)
    if key == image.thumbnail_key:
        raise NoSuchFile(f"the thumbnail of image {image.id} was lost")
    small = thumbnail(house.storage.get(image.key), side)
    if not house.store.gallery.add_file(image.id, key, "thumbnail"):
        raise NotFound(f"there is no image {image.id!r}")
    house.storage.put(key, small)
