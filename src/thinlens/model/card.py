"""The card of a model: what it does, what it was trained on, and what was measured."""

from typing import Annotated, Literal

import msgspec

Task = Literal["sr", "denoise", "deblock"]


class DataSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of training images and its terms."""

    name: str
    images: int
    licence: str


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the weights came about.

    ``schedule`` is ``full`` for the recipe's whole length and ``short`` for less than its method's paper;
    ``starts`` counts the random starts of which the best on validation images was kept.
    """

    recipe: str
    recipe_sha256: str
    schedule: Literal["full", "short", "imported", "none"]
    steps: int
    seed: int
    starts: int = 1
    data: tuple[DataSource, ...] = ()
    minutes: float | None = None
    device: str | None = None


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measured quality on one set: means over its images, with the protocol they were taken by."""

    data: str
    count: int
    psnr_y_db: float
    ssim_y: float
    protocol: str
    psnr_rgb_db: float | None = None


class Compression(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of compression: what it did, what it saved, and what it cost in quality.

    ``convolutions`` of the main plan were changed; bytes are those of all tensors as stored; PSNR is the mean on Y of
    ``count`` images that the step did not calibrate on, unless there was but one image. Parameters and
    multiply-accumulates (per output pixel) are those of the main plan; ``ratio`` is the share of channels that was to
    go, ``steps`` those of the training that followed. Files from before these were kept lack them.
    """

    method: str
    convolutions: int
    bytes_before: int
    bytes_after: int
    data: str
    count: int
    psnr_y_db_before: float
    psnr_y_db_after: float
    protocol: str
    params_before: int | None = None
    params_after: int | None = None
    macs_before: float | None = None
    macs_after: float | None = None
    ratio: float | None = None
    steps: int = 0

    @property
    def loss_db(self) -> float:
        """PSNR before less PSNR after."""
        return self.psnr_y_db_before - self.psnr_y_db_after


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model promises.

    Args:
        name: the configuration's name, such as ``edge_sr_tm_k7_c4_x2``.
        task: ``sr``, ``denoise`` or ``deblock``.
        scale: output size over input size; 1 unless the task is ``sr``.
        colour: ``luma`` (one channel in and out; chroma is resampled) or ``rgb``.
        params: numbers in the tensors.
        macs_per_pixel: multiply-accumulates per output pixel.
        licence: SPDX identifier of the weights' licence.
        training: how the weights came about.
        quality: what was measured.
        history: the steps of compression behind the training, in order.
        luma: which luma the network was trained on.
        value_range: low and high of the pixels that the network takes and gives; whoever runs it stretches 0..1 to
            that, see `thinlens.model.value_range`.
        sigma_range: of a denoiser: the lowest and the highest noise that it was trained on, in 8-bit units.
        quality_range: of a deblocker: the lowest and the highest quality of JPEG that it was trained on.
    """

    name: str
    task: Task
    scale: Annotated[int, msgspec.Meta(ge=1, le=16)]
    colour: Literal["luma", "rgb"]
    params: int
    macs_per_pixel: float
    licence: str
    training: Training
    quality: tuple[Measurement, ...] = ()
    history: tuple[Compression, ...] = ()
    luma: str = "full-range BT.601"
    value_range: tuple[float, float] = (0.0, 1.0)
    sigma_range: tuple[float, float] | None = None
    quality_range: tuple[int, int] | None = None
