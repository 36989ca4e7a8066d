"""Input files of every kind that people have, each with the truth about it."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyvips
from PIL import Image, ImageCms

FORMATS = ("png", "tiff", "jpeg", "webp")
SUFFIXES = {"png": ".png", "tiff": ".tif", "jpeg": ".jpg", "webp": ".webp"}
WIDTH, HEIGHT = 40, 30
ODD_SIZES = ((1, 1), (9, 1), (1, 9), (3, 2), (37, 23))

ARTIST, MAKE, ORIENTATION, EXIF_BLOCK, TAKEN_AT = 0x013B, 0x010F, 0x0112, 0x8769, 0x9003
TAGS = {ARTIST: "A. Photographer", MAKE: "Camera"}
TAKEN = "2024:02:29 12:34:56"

# Orientation -> what turns an upright picture into the pixels that such a file stores.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Case:
    """An input file and the truth about it.

    Attributes:
        kind: what the file is an example of.
        format: a key of ``SUFFIXES``.
        name: file name.
        data: its bytes.
        colours: what it shows, upright: ``H W`` gray or ``H W 3`` in 0..1; where readers may differ (CMYK without a
            profile) all that are right. Also what lies under transparent pixels, where the file itself has black.
        alpha: ``H W`` in 0..1 or None.
        deep: whether it has 16 bits a sample.
        icc: its colour profile.
        exif: whether it has EXIF tags.
        orientation: its EXIF orientation.
        text: what it is, in words.
    """

    kind: str
    format: str
    name: str
    data: bytes
    colours: tuple[np.ndarray, ...]
    alpha: np.ndarray | None = None
    deep: bool = False
    icc: bytes | None = None
    exif: bool = False
    orientation: int = 1
    text: str = ""


def scene(width=WIDTH, height=HEIGHT):
    """A bright picture, ``H W 3`` in 0..1: no two of its turned and mirrored forms, nor of its channels, are alike."""
    y, x = np.mgrid[:height, :width]
    u, v = (x + 0.5) / width, (y + 0.5) / height
    rgb = np.stack([0.35 + 0.6 * u, 0.9 - 0.5 * v, 0.4 + 0.25 * u * v], axis=-1)
    if min(width, height) > 8:  # on a handful of pixels, sharp borders leave more than one right answer
        rgb[(u < 0.3) & (v > 0.6)] = (0.95, 0.8, 0.3)
        rgb[(u > 0.7) & (v < 0.25)] = (0.5, 0.45, 0.9)
    return rgb


def gray_scene():
    """The scene's luma, ``H W``."""
    return scene() @ (0.299, 0.587, 0.114)


def matte():
    """Opaque, transparent and half-transparent regions, with soft and with hard borders: ``H W`` in 0..1."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    soft = np.clip((11 - np.hypot(x - 13, y - 15)) / 5, 0, 1)
    return np.where((x >= 27) & (x < 38) & (y >= 3) & (y < 20), 1.0, soft)


def iter_cases() -> Iterator[Case]:
    """Yield every input file."""
    for format in FORMATS:
        yield from _plain(format)
        yield from _transparent(format)
        yield from _deep(format)
        yield from _described(format)


def _case(kind, format, image, colours, *, name=None, **truth):
    """A case from an 8-bit Pillow image."""
    options = {"quality": 95, "subsampling": 0} if format == "jpeg" else {"lossless": True, "exact": True}
    options = options if format in ("jpeg", "webp") else {}
    if truth.get("icc"):
        options["icc_profile"] = truth["icc"]
    if truth.get("exif"):
        options["exif"] = _exif(truth["orientation"])
    file = io.BytesIO()
    image.save(file, format, **options)
    stem = name or kind.replace(" + ", "_").replace(" ", "_")
    extra = f", orientation {truth['orientation']}" if "orientation" in truth else ", ICC" if "icc" in truth else ""
    text = f"{image.mode} {image.width}x{image.height}{extra}"
    return Case(kind, format, f"{stem}{SUFFIXES[format]}", file.getvalue(), colours, text=text, **truth)


def _bytes(values):
    """0..1 -> Pillow image of 8 bits."""
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _plain(format):
    if format != "webp":
        yield _case("gray", format, _bytes(gray_scene()), (gray_scene(),))
    if format in ("png", "tiff"):
        image = _bytes(scene()).quantize(24, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        yield _case("palette", format, image, (np.asarray(image.convert("RGB")) / 255,))
    yield _case("RGB", format, _bytes(scene()), (scene(),))
    yield _case("non-ASCII name", format, _bytes(scene()), (scene(),), name="Größe été 写真 ☂ a b")
    for width, height in ODD_SIZES:
        picture = scene(width, height)
        yield _case("odd sizes", format, _bytes(picture), (picture,), name=f"odd_{width}x{height}")
    if format == "jpeg":
        yield _cmyk()


def _cmyk():
    image = _bytes(scene()).convert("CMYK")
    case = _case("CMYK", "jpeg", image, (scene(),))
    managed = pyvips.Image.jpegload_buffer(case.data).colourspace("srgb").numpy() / 255
    return replace(case, colours=(scene(), managed))


def _transparent(format):
    """Under fully transparent pixels the files are black, as many programs leave them."""
    if format == "jpeg":
        return
    alpha = np.rint(matte() * 255) / 255
    visible = (alpha > 0)[..., None]
    if format != "webp":
        image = _bytes(np.dstack([gray_scene() * visible[..., 0], alpha]))
        yield _case("gray + alpha", format, image, (gray_scene(),), alpha=alpha)
    yield _case("RGBA", format, _bytes(np.dstack([scene() * visible, alpha])), (scene(),), alpha=alpha)
    if format == "png":
        yield _palette_with_transparency()


def _palette_with_transparency():
    flat = np.broadcast_to(np.array([0.95, 0.8, 0.3]), (HEIGHT, WIDTH, 3))
    index = (matte() > 0.5).astype(np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette([0, 0, 0, *np.rint(flat[0, 0] * 255).astype(int).tolist()])
    image.info["transparency"] = b"\0\xff"
    return _case("palette + transparency", "png", image, (flat,), alpha=index.astype(float))


def _deep(format):
    if format not in ("png", "tiff"):
        return
    for kind, picture, interpretation in (("16-bit gray", gray_scene(), "grey16"), ("16-bit RGB", scene(), "rgb16")):
        samples = np.rint(picture * 65535).astype(np.uint16)
        image = pyvips.Image.new_from_array(samples).copy(interpretation=interpretation)
        data = image.pngsave_buffer() if format == "png" else image.tiffsave_buffer(compression="deflate")
        name, text = kind.replace(" ", "_") + SUFFIXES[format], f"{kind} {WIDTH}x{HEIGHT}"
        yield Case(kind, format, name, data, (samples / 65535,), deep=True, text=text)


def _described(format):
    yield _case("ICC", format, _bytes(scene()), (scene(),), icc=profile())
    for orientation in range(1, 9):
        image = _bytes(scene())
        image = image.transpose(STORED[orientation]) if orientation > 1 else image
        name = f"orientation_{orientation}"
        yield _case("EXIF orientation", format, image, (scene(),), name=name, exif=True, orientation=orientation)


def profile():
    """A colour profile that is not sRGB: its red and blue primaries are exchanged."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"tmp_").replace(b"bXYZ", b"rXYZ").replace(b"tmp_", b"bXYZ")


def _exif(orientation):
    exif = Image.Exif()
    for tag, value in TAGS.items():
        exif[tag] = value
    exif[ORIENTATION] = orientation
    exif[EXIF_BLOCK] = {TAKEN_AT: TAKEN}
    return exif.tobytes()
