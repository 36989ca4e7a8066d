"""`--budget`: what making a result may take, such as ``20ms@1080p,64MB``."""

from dataclasses import dataclass

import typer

from thinlens.cli.options import parse_bytes, parse_seconds, parse_size

SIZES = {"720p": "1280x720", "1080p": "1920x1080", "4k": "3840x2160"}
HELP = "What one result may take: 20ms@1080p, 64MB@4k, or 20ms@1280x720,64MB; the size is that of the result."


@dataclass(frozen=True)
class Budget:
    """What making one result may take.

    Args:
        text: as it was given.
        height: of the result, pixels.
        width: likewise.
        seconds: at most; None: any time.
        memory_bytes: of the whole process, at most; None: any memory.
    """

    text: str
    height: int
    width: int
    seconds: float | None
    memory_bytes: int | None


def parse_budget(text: str) -> Budget:
    """Read a time, a memory or both, between commas, and once ``@`` and the size of the result."""
    parts = [part.partition("@") for part in text.split(",")]
    sizes = [size.strip().lower() for _, at, size in parts if at]
    limits = [limit.strip() for limit, _, _ in parts]
    memories = [limit for limit in limits if limit.lower().endswith("b")]
    times = [limit for limit in limits if limit not in memories]
    try:
        if len(sizes) != 1 or len(times) > 1 or len(memories) > 1:
            raise typer.BadParameter(text)
        height, width = parse_size(SIZES.get(sizes[0], sizes[0]))
        seconds, memory_bytes = next(map(parse_seconds, times), None), next(map(parse_bytes, memories), None)
    except typer.BadParameter as error:
        raise typer.BadParameter(
            f"got '{text}'; accepted: a time, a memory or both, and once the size of the result, such as "
            f"20ms@1080p,64MB; sizes: {', '.join(SIZES)}, or width x height"
        ) from error
    return Budget(text.strip(), height, width, seconds, memory_bytes)
