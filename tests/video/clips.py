"""Small videos with everything that a file may hold, made by PyAV."""

import struct
from fractions import Fraction

import av
import numpy as np
from av.packet import Packet

CLOCK = Fraction(1, 12800)
STEP = 512  # 25 frames a second
QUARTER_TURN = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
HEVC_TAGS = (9, 16, 9, 1)  # primaries, transfer, matrix, range: BT.2020 PQ, limited


def picture(number, width, height, peak=255):
    """A pan over soft stripes: planes of 4:4:4."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    wave = np.sin((x + 2 * number) / 3) * np.cos(y / 4)
    luma = (0.5 + 0.4 * wave) * peak
    return [np.rint(plane) for plane in (luma, (0.5 + 0.2 * np.sin(x / 7 + number)) * peak, (0.4 + 0 * y) * peak)]


def frame_of(number, width, height, pixels):
    """A frame of a planar YUV or gray format."""
    frame = av.VideoFrame(width, height, pixels)
    bits = frame.format.components[0].bits
    for plane, values, part in zip(
        frame.planes, picture(number, width, height, (1 << bits) - 1), range(3), strict=False
    ):
        component = frame.format.components[part]
        dtype = np.uint8 if bits == 8 else np.uint16
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        down, across = -(-height // component.height), -(-width // component.width)
        rows[:, : component.width] = values[::down, ::across]
    return frame


def clip(
    path,
    frames=12,
    width=32,
    height=24,
    pixels="yuv420p",
    codec="libx264",
    times=None,
    tags=(1, 1, 1, 1),
    aspect=Fraction(4, 3),
    matrix=None,
    audio=0,
    subtitles=None,
    chapters=False,
    attachment=False,
    timecode=None,
    first=0,
):
    """Write a video.

    Args:
        path: a file of any container.
        frames: how many.
        times: timestamps of frames in ticks of `CLOCK`; None: 25 a second.
        audio: how many tracks of sine.
        subtitles: their codec.
        chapters: two, and a title.
        attachment: a file inside, for Matroska.
        timecode: of the first frame, for MOV.
        first: the number of the first picture.
    """
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    times = [STEP * number for number in range(frames)] if times is None else times
    with av.open(str(path), "w", container_options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as out:
        video = out.add_stream(codec, rate=25, options=options)
        context = video.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = width, height, pixels, CLOCK
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        context.thread_count = 1
        video.time_base = CLOCK
        if matrix is not None:
            video.set_display_matrix(matrix)
        if timecode is not None:
            video.metadata["timecode"] = timecode
        sounds = [_add_sound(out, number) for number in range(audio)]
        texts = _add_subtitles(out, subtitles) if subtitles else []
        if chapters:
            out.metadata["title"] = "A pan"
            out.set_chapters(
                [
                    {
                        "id": i,
                        "start": 200 * i,
                        "end": 200 * i + 200,
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": f"Part {i}"},
                    }
                    for i in range(2)
                ]
            )
        if attachment:
            out.add_attachment("font.ttf", "font/ttf", b"no font")
        for number, time in enumerate(times):
            frame = frame_of(first + number, width, height, pixels)
            frame.pts, frame.time_base = time, CLOCK
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for stream in sounds:
            _write_sound(out, stream, len(times) or 4)
        for packet in texts:
            out.mux(packet)
    return path


def _add_sound(out, number):
    stream = out.add_stream("aac" if out.format.name != "webm" else "libopus", rate=48000)
    stream.metadata["language"] = ("deu", "eng", "fra")[number]
    stream.layout = "mono"
    return stream


def _write_sound(out, stream, frames):
    rate, size = 48000, 960
    for number in range(frames * 2):
        samples = np.sin(np.arange(number * size, number * size + size) / 17).astype(np.float32)[None]
        if stream.codec_context.format.name == "s16":
            frame = av.AudioFrame.from_ndarray((samples * 9000).astype(np.int16), "s16", "mono")
        else:
            frame = av.AudioFrame.from_ndarray(samples, stream.codec_context.format.name, "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, number * size, Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _add_subtitles(out, codec):
    stream = out.add_mux_stream(codec)
    stream.metadata["language"] = "deu"
    stream.time_base = Fraction(1, 1000)
    packets = []
    for number, text in enumerate(("Erste Zeile", "Zweite überall")):
        data = text.encode()
        packet = Packet(struct.pack(">H", len(data)) + data if codec == "mov_text" else data)
        packet.pts = packet.dts = 100 + 200 * number
        packet.duration, packet.time_base, packet.stream = 150, Fraction(1, 1000), stream
        packets.append(packet)
    return packets


def contents(path):
    """Everything in a file but the picture: tracks with their packets, chapters, tags."""
    with av.open(str(path)) as file:
        tracks = {
            stream.index: {
                "type": stream.type,
                "codec": stream.name,
                "language": stream.metadata.get("language"),
                "disposition": int(stream.disposition),
                "packets": [],
            }
            for stream in file.streams
            if not (stream.type == "data" and int(stream.discard) == 48)
        }
        for packet in file.demux():
            if packet.stream.type != "video" and packet.size and packet.stream_index in tracks:
                time = packet.pts * packet.time_base
                tracks[packet.stream_index]["packets"].append((time, bytes(packet)))
        for stream in file.streams:
            if stream.type == "attachment":
                tracks[stream.index]["data"] = bytes(stream.data)
                tracks[stream.index]["name"] = stream.metadata.get("filename")
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in file.chapters()]
        return {"tracks": list(tracks.values()), "chapters": chapters, "title": file.metadata.get("title")}


def shown(path):
    """The frames of a file: timestamp, size, and the planes."""
    with av.open(str(path)) as file:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray() if frame.format.name != "p010le" else None)
            for frame in file.decode(video=0)
        ]


def facts(path):
    """What a file says of its picture."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frame = next(file.decode(stream))
        matrix = frame.side_data.get("DISPLAYMATRIX")
        return {
            "tags": (int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace), int(frame.color_range)),
            "aspect": stream.sample_aspect_ratio,
            "matrix": None if matrix is None else struct.unpack("=9i", bytes(matrix)),
            "pixels": frame.format.name,
            "size": (frame.width, frame.height),
            "clock": stream.time_base,
            "codec": stream.name,
        }
