"""`thinlens models`: the shipped models and their cards."""

from typing import TYPE_CHECKING

from thinlens.cli.options import Json
from thinlens.cli.output import print_json, print_table, to_bytes_text

if TYPE_CHECKING:
    from thinlens.model.card import Measurement, ModelCard

COLUMNS = ("name", "task", ">scale", ">parameters", ">bytes", ">MACs/pixel", ">PSNR", "on", "default for")


def models(as_json: Json = False) -> None:
    """List the shipped models: task, scale, size, cost for each output pixel, measured quality."""
    from thinlens.models import list_models

    cards = list_models()
    if as_json:
        print_json([_record(card) for card in cards])
    else:
        print_table(COLUMNS, (_row(card) for card in cards))


def _record(card: "ModelCard") -> dict[str, object]:
    import msgspec

    return {**msgspec.to_builtins(card), "bytes": _file_bytes(card), "default_for": _default_for(card)}


def _row(card: "ModelCard") -> tuple[object, ...]:
    measured = card.quality[0] if card.quality else None
    return (
        card.name,
        card.task,
        f"x{card.scale}",
        card.params,
        to_bytes_text(_file_bytes(card)),
        f"{card.macs_per_pixel:.0f}",
        f"{_psnr_db(measured):.2f} dB" if measured else None,
        measured.data if measured else None,
        ", ".join(_default_for(card)),
    )


def _psnr_db(measured: "Measurement") -> float:
    """Over RGB where that was measured, as denoisers are; else on luma."""
    return measured.psnr_y_db if measured.psnr_rgb_db is None else measured.psnr_rgb_db


def _file_bytes(card: "ModelCard") -> int:
    from thinlens.models import find_model

    return find_model(card.name).stat().st_size


def _default_for(card: "ModelCard") -> list[str]:
    """The values of `--prefer` that pick this model."""
    from thinlens.models import DEFAULTS

    choices = DEFAULTS.get((card.task, card.scale), {})
    return [prefer for prefer, name in choices.items() if name == card.name]
