"""The records that the report is made of: what is not there is left out, damage is an error."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from PIL import Image

from thinlens.errors import RecordError

MAX_BYTES = 32 << 20  # of a record
MAX_PICTURE_BYTES = 2 << 20
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(gt=0)]
T = TypeVar("T")


class Quality(msgspec.Struct, frozen=True):
    """Mean over the images of a set."""

    psnr_db: float
    ssim: float


class Speed(msgspec.Struct, frozen=True):
    """Time for one output of 1920x1080 in the engine; ``against_bicubic``: bicubic's time is 1."""

    ms: Positive
    fps: Positive
    against_bicubic: float | None = None


class Training(msgspec.Struct, frozen=True):
    """How a member was trained; ``source``: ``shipped`` or ``pool``."""

    schedule: str
    source: str
    steps: int | None = None
    seed: int | None = None
    minutes: float | None = None


class Member(msgspec.Struct, frozen=True):
    """A configuration of the pool, or a shipped model.

    Args:
        name: of the configuration.
        family: such as ``edge_sr_tm``.
        task: ``sr``, ``denoise`` or ``deblock``.
        scale: output over input.
        params: numbers in its tensors.
        macs_720p: multiply-accumulates for a 1280x720 output.
        quality: by set; empty: not trained.
        speed: by number of threads, ``1`` or ``2``.
        peak_bytes: of memory, for the output that ``speed`` is of.
        bytes: of the model file.
        training: None: the network has nothing to train, or was not trained.
        energy_mj: for the same output; None: not available.
        published: figures of the paper's authors: a set's `Quality`, or a number.
    """

    name: str
    family: str
    task: str
    scale: Count
    params: int
    macs_720p: Count
    quality: dict[str, Quality] = {}
    speed: dict[str, Speed] = {}
    peak_bytes: Count | None = None
    bytes: Count | None = None
    training: Training | None = None
    energy_mj: Positive | None = None
    published: dict[str, Quality | float | None] | None = None


class Pool(msgspec.Struct, frozen=True):
    """`pool.json`: every member, measured on one host by one protocol."""

    members: tuple[Member, ...]
    host: dict[str, Any] = {}
    protocol: Any = None


class CropPicture(msgspec.Struct, frozen=True):
    """One way to make a piece; ``psnr_db``: to the original."""

    label: str
    file: str
    psnr_db: float | None = None


class Scene(msgspec.Struct, frozen=True):
    """A piece of a picture, made in several ways, the plainest first and the original last."""

    name: str
    pictures: Annotated[tuple[CropPicture, ...], msgspec.Meta(min_length=2)]


class Crops(msgspec.Struct, frozen=True):
    """`crops.json`, with its pictures in the folder `crops`."""

    command: str
    source: str
    scenes: tuple[Scene, ...]


class Template(msgspec.Struct, frozen=True):
    """Filter pictures of a one-layer network, in the folder `templates`."""

    name: str
    pictures: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Picture:
    """A picture's bytes; ``size``: width and height in pixels, None where the file does not settle it."""

    media_type: str
    data: bytes
    size: tuple[int, int] | None

    @property
    def url(self) -> str:
        """As a `data:` URL."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


class Records:
    """The records of a folder: `*.json`, those of `thinlens bench` in `bench`, and the pages `*.md`.

    Raises:
        RecordError: if there are none, or one is no JSON or no text.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = sorted(path for pattern in ("*.json", "bench/*.json", "*.md") for path in folder.glob(pattern))
        if not paths:
            raise RecordError(f"`{folder}`: no records; accepted: a folder of `*.json`, such as `docs/results`")
        self._files = {path.relative_to(folder).as_posix(): _read(path, MAX_BYTES) for path in paths}
        for name in self._files:
            self.text(name) if name.endswith(".md") else self.get(name, Any)

    @property
    def names(self) -> list[str]:
        """The files that were read, by their path in the folder."""
        return list(self._files)

    def get(self, name: str, kind: type[T] | Any) -> Any:
        """A record as ``kind``; None if there is no such file.

        Raises:
            RecordError: if it is not what ``kind`` says.
        """
        if name not in self._files:
            return None
        try:
            return msgspec.json.decode(self._files[name], type=kind)
        except (msgspec.MsgspecError, RecursionError) as error:
            text = f"damaged: {error}; measure it again, or take the file away"
            raise RecordError(f"`{self.folder / name}`: {text}") from error

    def text(self, name: str) -> str:
        """A page's text."""
        try:
            return self._files[name].decode()
        except UnicodeDecodeError as error:
            raise RecordError(f"`{self.folder / name}`: damaged: not UTF-8: {error.reason}") from error

    def picture(self, name: str) -> Picture:
        """A picture that a record or a page names.

        Args:
            name: path in the folder; it may not lead out of it.

        Raises:
            RecordError: if it is missing, damaged, too large, or outside the folder.
        """
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise RecordError(f"`{path}`: outside `{self.folder}`; name a picture inside it")
        data = _read(path, MAX_PICTURE_BYTES)
        if path.suffix == ".svg":
            return Picture("image/svg+xml", data, None)
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
                image.verify()
                return Picture(f"image/{str(image.format).lower()}", data, image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise RecordError(f"`{path}`: no picture: {error}; accepted: PNG, WebP and `.svg`") from error


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise RecordError(f"`{path}`: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise RecordError(f"`{path}`: more than {limit >> 20} MiB; accepted: at most that much")
    return data
