"""The shipped models, their cards, and which one runs when none is named.

A model lies here as ``NAME.safetensors``, NAME being its configuration's name. It ships only if it beats every cheaper
one of the same task and scale on validation images; one-layer upscalers of the reference configurations always ship.
"""

from pathlib import Path
from typing import Literal, get_args

from thinlens.errors import UnknownNameError
from thinlens.model.card import ModelCard, Task
from thinlens.model.file import read_model

Prefer = Literal["speed", "balanced", "quality"]

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"

# One default for each task, scale and preference; tests/models proves that each beats every cheaper model. ESPCN is not
# the balanced one although it would be quick enough: its sigmoid leaves white paper at 253 or 254 of 255. eSR-CNN keeps
# all 256 levels of flat areas.
DEFAULTS: dict[tuple[Task, int], dict[Prefer, str]] = {
    ("sr", scale): {
        "speed": f"edge_sr_max_k5_c2_x{scale}",
        "balanced": f"edge_sr_cnn_c2_d5_s9_x{scale}",
        "quality": f"espcn_d16_s32_x{scale}",
    }
    for scale in (2, 3, 4)
}
# One blind model for all strengths of noise, and one for all qualities of JPEG.
DEFAULTS["denoise", 1] = dict.fromkeys(get_args(Prefer), "dncnn_d10_w16_denoise")
DEFAULTS["deblock", 1] = dict.fromkeys(get_args(Prefer), "dncnn_d10_w16_deblock")


def model_names() -> list[str]:
    """Names of the shipped models, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def list_models() -> list[ModelCard]:
    """Cards of the shipped models, by task, scale and cost."""
    cards = [read_model(FOLDER / f"{name}{SUFFIX}").card for name in model_names()]
    return sorted(cards, key=lambda card: (card.task, card.scale, card.macs_per_pixel))


def find_model(name_or_path: str | Path) -> Path:
    """The file of a shipped model's name, or of a path (anything that ends in ``.safetensors``).

    Raises:
        UnknownNameError: listing near matches, if it is neither.
    """
    path = Path(name_or_path)
    if path.suffix == SUFFIX:
        return path
    names = model_names()
    if str(name_or_path) not in names:
        advice = f"`thinlens models` lists all; a path must end in `{SUFFIX}`"
        raise UnknownNameError.of("model", str(name_or_path), names, advice)
    return FOLDER / f"{name_or_path}{SUFFIX}"


def default_model(task: str, scale: int, prefer: str = "balanced") -> str:
    """Name of the model that runs when none is named.

    Raises:
        UnknownNameError: listing what there is, if no model is shipped for that task and scale.
    """
    for (known_task, known_scale), choice in DEFAULTS.items():
        if (known_task, known_scale) == (task, scale) and prefer in choice:
            return choice[prefer]
    known = "; ".join(f"{t} x{s} ({', '.join(c)})" for (t, s), c in DEFAULTS.items())
    raise UnknownNameError(
        f"no model is shipped for task `{task}`, scale {scale}, preference `{prefer}`; there are: {known}"
    )
