"""Terms of use of the training images: what the weights trained on them may be used for.

A recipe that asks for ``terms = "permissive"`` trains only on folders whose licence lets the result be used in
products. Folders that this table does not know are the reader's own: their terms are ``unknown``.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Terms:
    """Licence of a folder of images.

    Args:
        licence: as its source states it.
        permissive: whether weights trained on the images may be used in products.
    """

    licence: str
    permissive: bool


UNKNOWN = Terms("unknown", permissive=False)

# Longest prefix wins.
FOLDERS: dict[str, Terms] = {
    "train/bsds500": Terms("research and education only", permissive=False),
    "train/t91": Terms("research use", permissive=False),
    "train/cid22": Terms("CC BY-SA 4.0", permissive=True),
    "train/clic2025_half": Terms("Unsplash licence", permissive=True),
    "train_extra/avif_samples": Terms("CC BY-SA 4.0", permissive=True),
    "train_extra/budgie": Terms("CC0 1.0", permissive=True),
    "train_extra/cid22": Terms("CC BY-SA 4.0", permissive=True),
    "train_extra/clic2025_half": Terms("Unsplash licence", permissive=True),
    "train_extra/deepin_unsplash": Terms("Unsplash licence", permissive=True),
    "train_extra/elementary": Terms("free wallpapers (Unsplash), not checked file by file", permissive=True),
    "train_extra/gb82": Terms("CC0 1.0", permissive=True),
    "train_extra/oceanic_pexels": Terms("Pexels licence, CC0 as stated there", permissive=True),
    "train_extra/photo_stream_unsplash": Terms("Unsplash licence", permissive=True),
    "train_extra/pop_os_unsplash": Terms("Unsplash licence; called public domain by its source", permissive=True),
    "train_extra/solus": Terms("CC BY 4.0, CC BY-SA 3.0 and 4.0", permissive=True),
    "train_extra/unsplash_pexels_mix": Terms("Unsplash licence and Pexels licence", permissive=True),
    "train_extra/wikimedia_animals": Terms("CC BY 2.0 to 3.0, CC BY-SA 2.5 to 4.0, public domain", permissive=True),
    "train_extra/wikimedia_places": Terms("CC BY-SA 1.0 to 4.0 mostly, Free Art, GFDL 1.2", permissive=True),
}


def terms_of(folder: str) -> Terms:
    """The terms of a folder, given relative to the data root with ``/`` between its parts."""
    path = PurePosixPath(folder)
    for part in (path, *path.parents):
        if str(part) in FOLDERS:
            return FOLDERS[str(part)]
    return UNKNOWN
