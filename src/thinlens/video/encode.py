"""Encoders by the names that users know, set up so that the same settings always make the same stream."""

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from thinlens.errors import VideoError
from thinlens.video.formats import ENCODERS
from thinlens.video.source import Tags, reason

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 tells its settings on stderr otherwise


@dataclass(frozen=True)
class Encoding:
    """Everything that an encoder is told.

    Args:
        encoder: FFmpeg's name.
        options: of the encoder.
        width: of a frame.
        height: of a frame.
        pixels: the pixel format.
        time_base: what timestamps count.
        rate: average frames a second.
        tags: the meaning of the values.
        aspect: of a pixel.
        threads: how many work; the stream depends on it.
    """

    encoder: str
    options: dict[str, str]
    width: int
    height: int
    pixels: str
    time_base: Fraction
    rate: Fraction
    tags: Tags
    aspect: Fraction | None
    threads: int

    def open(self) -> VideoCodecContext:
        """An encoder at work.

        Raises:
            VideoError: if it refuses the settings.
        """
        context = cast(VideoCodecContext, av.CodecContext.create(self.encoder, "w"))
        self.apply(context)
        try:
            context.open()
        except (av.FFmpegError, ValueError) as error:
            sides = "even sides" if self.pixels.startswith("yuv420p") else "sides of whole chroma samples"
            raise VideoError(
                f"the encoder `{self.encoder}` does not take {self.width}x{self.height} {self.pixels} with "
                f"{self.options} ({reason(error)}); it may want {sides}: see `--size`, or another `--codec`"
            ) from error
        return context

    def apply(self, context: VideoCodecContext) -> None:
        """Set all this on an encoder that is not open yet."""
        context.width, context.height, context.pix_fmt = self.width, self.height, self.pixels
        context.time_base, context.framerate = self.time_base, self.rate
        context.bit_rate, context.thread_count = 0, self.threads
        if self.aspect is not None:
            context.sample_aspect_ratio = self.aspect
        context.color_primaries, context.color_trc = self.tags.primaries, self.tags.transfer
        context.colorspace, context.color_range = self.tags.matrix, self.tags.range
        context.flags |= Flags.global_header
        context.options = dict(self.options)


def encoder_options(codec: str, crf: float | None, preset: str | None) -> tuple[str, dict[str, str]]:
    """FFmpeg's encoder for a codec and its options.

    Args:
        codec: a key of `ENCODERS`.
        crf: quality, lower is better; None: the codec's default.
        preset: speed against size; None: the encoder's default.

    Raises:
        VideoError: if PyAV was built without that encoder, or it knows no such setting.
    """
    encoder = ENCODERS[codec]
    if not has_encoder(codec):
        there = ", ".join(name for name in ENCODERS if has_encoder(name)) or "none of ours"
        raise VideoError(f"codec {codec}: this PyAV has no encoder `{encoder.name}`; it has: {there}; see `--codec`")
    options = dict(encoder.options)
    if crf is not None and encoder.crf is None:
        raise VideoError(f"codec {codec} is lossless and has no `--crf`; leave it out")
    if encoder.crf is not None:
        options["crf"] = f"{encoder.crf if crf is None else crf:g}"
    if preset is not None:
        if encoder.preset is None or preset not in encoder.presets:
            accepted = f"accepted: {', '.join(encoder.presets)}" if encoder.presets else "it has none; leave it out"
            raise VideoError(f"codec {codec}: preset `{preset}`; {accepted}")
        options[encoder.preset] = preset
    return encoder.name, options


def has_encoder(codec: str) -> bool:
    """Whether PyAV was built with the encoder of a codec."""
    try:
        Codec(ENCODERS[codec].name, "w")
    except UnknownCodecError:
        return False
    return True


def check_pixels(codec: str, pixels: str) -> None:
    """Raise `VideoError` if a codec's encoder does not take a pixel format."""
    if pixels not in _pixels(codec):
        others = [name for name in ENCODERS if has_encoder(name) and pixels in _pixels(name)]
        raise VideoError(
            f"codec {codec} does not take pixel format {pixels}; these do: {', '.join(others) or 'none'}; see `--codec`"
        )


def _pixels(codec: str) -> set[str]:
    return {item.name for item in Codec(ENCODERS[codec].name, "w").video_formats or []}
