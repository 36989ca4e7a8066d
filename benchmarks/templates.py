"""Write the pictures of filters and winners that the report shows: `docs/results/templates.json` and `templates/`.

    python benchmarks/templates.py [--official DIR]

With ``--official``, a folder of published weights, their figures are printed beside ours; their pictures are not kept.
Needs the extras `report` and, for the published weights, `train`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from thinlens.atomic import write_bytes
from thinlens.bench.quality import read_hq
from thinlens.bench.templates import find_templates, match
from thinlens.cli.templates import record_of
from thinlens.model.file import Model, read_model
from thinlens.models import find_model
from thinlens.report.templates import draw_filters, draw_match

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PICTURE = ROOT / "examples" / "dog.webp"
TEXTS = {
    "edge_sr_max_k5_c2_x2": (
        "Candidate 1, which sharpens, makes 99 % of the pixels. Candidate 0, a blur at less than half the "
        "brightness, is the larger one only in the darkest places (brightness 0.02 on average): a floor under "
        "what sharpening undershoots."
    ),
    "edge_sr_tm_k7_c4_x2": (
        "Keys 0 and 3 answer to diagonal steps of opposite sign, key 2 to corners and not to straight edges. "
        "Nobody wins alone: the largest weight is 0.41 on average; the winner alone would cost 12.4 dB, equal "
        "weights 1.1 dB."
    ),
    "edge_sr_tr_k5_c4_x2": (
        "Weights stay close to a quarter each and leave that only on outlines and in fur: equal weights would "
        "cost 0.15 dB on this picture, the winner alone 2.7 dB."
    ),
    "edge_sr_tr_k7_c16_x2": (
        "In 13 of 16 candidates query and key answer with opposite signs (8, 11 and 12 show it best): an edge "
        "that both see takes weight from the candidate. Only in 7 they agree; on the steepest fifth of the "
        "picture it leads most often."
    ),
}
OFFICIAL = ("eSR-MAX_s2_K5_C2", "eSR-TM_s2_K7_C4", "eSR-TR_s2_K5_C4", "eSR-TR_s2_K7_C5")


def tell(model: Model, whose: str) -> None:
    """Print the figures of a model."""
    found = record_of(find_templates(model), match(model, read_hq(PICTURE)))
    print(whose, found["model"], found["psnr_db"], "largest weight", found["certainty"])
    for candidate in found["candidates"]:
        filters = "; ".join(f"{it['role']} {it['band']} {it['direction']:.0f}°" for it in candidate["filters"])
        told = f"wins {candidate['share']:.1%}, weight {candidate['weight']:.2f}, contrast {candidate['contrast']:.2f}"
        print(f"  {candidate['candidate']}: {told}, {fits(candidate)}; {filters}")


def fits(candidate: dict[str, Any]) -> str:
    """What says how the candidate's filters and its picture go together."""
    told = {name: candidate[name] for name in ("key_match", "query_key") if candidate[name] is not None}
    return ", ".join(f"{name} {value:+.2f}" for name, value in told.items())


def main() -> None:
    """Draw, write, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path)
    arguments = parser.parse_args()
    (RESULTS / "templates").mkdir(exist_ok=True)
    record = []
    for name, text in TEXTS.items():
        model = read_model(find_model(name))
        tell(model, "ours")
        templates, matched = find_templates(model), match(model, read_hq(PICTURE))
        pictures = {
            f"{name}_filters.webp": draw_filters(templates, "webp"),
            f"{name}_winners.webp": draw_match(templates, matched, "webp"),
        }
        for file, content in pictures.items():
            write_bytes(RESULTS / "templates" / file, content, overwrite=True)
        record.append({"name": name, "pictures": list(pictures), "text": text})
    (RESULTS / "templates.json").write_text(json.dumps(record, indent=1) + "\n")
    if arguments.official is not None:
        from thinlens.train.importer import import_weights

        for stem in OFFICIAL:
            tell(import_weights(arguments.official / f"{stem}.model").model, "published")


if __name__ == "__main__":
    main()
