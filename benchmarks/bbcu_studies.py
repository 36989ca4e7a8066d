"""The studies of BBCU's paper at 16 channels: equal steps, three seeds, mean and spread.

    python benchmarks/bbcu_studies.py STUDY ... --data DIR --runs DIR [--steps 3000] [--seeds 0 1 2]

STUDY is one of versions, parts, alignment, rivals, optimisers, or ``all``. ``--data`` holds train, train_extra, val,
Set5 and Set14; ``--runs`` keeps what was trained: a second call goes on where the first was stopped, whatever the
moment. Writes ``docs/results/bbcu_studies.json`` and ``.md`` after each network; what they hold of other networks
stays. In ``optimisers`` the time is equal and not the steps: those of the slower ones are cut by what a step takes.

``parts`` also tells the paper's two values of making a part binary: what is saved, in operations and in parameters,
for each dB lost, V_C and V_N.
"""

import statistics

from studies import Campaign, Row, Study, Variant, by_seed, run

from thinlens.model.counts import count_convolutions
from thinlens.train.lower import lower
from thinlens.train.networks import find_configuration

# Binary networks want high rates in short trainings (docs/methods/bbcu.md). Without averaged weights: the signs of an
# average are not those of any step, and batch norm's statistics are the last weights' own.
LOOP = {
    "kind": "plain",
    "batch": 8,
    "crop": 24,
    "lr": 5e-3,
    "warmup": 100,
    "ema": 0.0,
    "optimiser": "soap",
    "loss": "l1",
    "checkpoint_every": 500,
}
FULL, BODY, SIZE = "srresnet_w16_x4", "bbcu_l_w16_x4", (180, 320)
PARTS = {"head": "bbcu_h_w16_x4", "body": BODY, "upsampler": "bbcu_u_w16_x4", "tail": "bbcu_t_w16_x4"}
LEAST_LOSS = 0.01  # dB; below it, a value of a part has no meaning


def values_of_parts(rows: list[Row]) -> str:
    """What making each part binary saves, and that for each dB lost, as a table."""
    full = by_seed(rows, "full precision", "val")
    operations, parameters = _costs(FULL)
    lines = [
        "\nOperations for 320x180 pixels, and parameters, as the paper counts them. V_C, V_N: what is saved for each",
        f"dB lost on val; none where the mean loss is {LEAST_LOSS} dB or less.\n",
        "| part | dB lost | G saved | V_C, G/dB | K saved | V_N, K/dB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for part, network in PARTS.items():
        lost = [full[seed] - psnr for seed, psnr in by_seed(rows, part, "val").items() if seed in full]
        if lost:
            mean, costs = statistics.mean(lost), _costs(network)
            saved = (operations - costs[0]) / 1e9, (parameters - costs[1]) / 1e3
            worth = [f"{value / mean:.4g}" if mean > LEAST_LOSS else "-" for value in saved]
            lines.append(f"| {part} | {mean:.3f} | {saved[0]:.3f} | {worth[0]} | {saved[1]:.2f} | {worth[1]} |")
    return "\n".join(lines) + "\n"


def _costs(name: str) -> tuple[float, float]:
    configuration = find_configuration(name)
    plan, _ = lower(configuration.create(), configuration.channels)
    return count_convolutions(plan, SIZE)


STUDIES = {
    "versions": Study(
        "Versions of the unit",
        "V2 < V1 < V3 < V4: V2 0.14 dB below V1 and V3 0.16 above it on Urban100",
        (
            Variant("V1, batch norm", "bbcu_l_v1_w16_x4"),
            Variant("V2, none", "bbcu_l_v2_w16_x4"),
            Variant("V3, residual alignment", "bbcu_l_v3_w16_x4"),
            Variant("V4, activation within the branch", BODY),
        ),
    ),
    "parts": Study(
        "Parts made binary",
        "the upsampler has the largest values, head and tail the lowest; the body alone loses 0.22 dB on Set14",
        (Variant("full precision", FULL), *(Variant(part, network) for part, network in PARTS.items())),
        more=values_of_parts,
    ),
    "alignment": Study(
        "Residual alignment",
        "only together with the rest: V3 0.30 dB above V2 on Urban100",
        (
            Variant("V4, without", "bbcu_l_k1_w16_x4"),
            Variant("V4, with", BODY),
            Variant("V3, without (V2)", "bbcu_l_v2_w16_x4"),
            Variant("V3, with", "bbcu_l_v3_w16_x4"),
        ),
    ),
    "rivals": Study(
        "Other binary networks",
        "x4, Set14: BNN 25.51, Bi-Real 25.79, IR-Net 28.08, BTM 28.16, ReActNet 28.19, BBCU-L 28.38, BBCU-M 28.20; "
        "12 channels in full precision 28.11, all 28.60",
        (
            Variant("BBCU-L", BODY),
            Variant("BBCU-M", "bbcu_m_w16_x4"),
            Variant("ReActNet (V1)", "bbcu_l_v1_w16_x4"),
            Variant("BTM", "btm_l_w16_x4"),
            Variant("IR-Net", "irnet_l_w16_x4"),
            Variant("Bi-Real", "bireal_l_w16_x4"),
            Variant("BNN", "bnn_l_w16_x4"),
            Variant("full precision, 4 channels", "srresnet_w4_x4"),
            Variant("full precision", FULL),
        ),
    ),
    "optimisers": Study(
        "Optimisers and rates, equal time",
        "Adam at 1e-4, 300,000 steps",
        tuple(
            Variant(f"{optimiser}, {rate:g}", BODY, {"optimiser": optimiser, "lr": rate})
            for optimiser, rate in (("adam", 1e-4), ("adam", 2e-3), ("adam", 8e-3), ("soap", 3e-3), ("soap", 1e-2))
        ),
        equal_time=True,
    ),
}
CAMPAIGN = Campaign("bbcu_studies", "BBCU's studies at 16 channels, x4", STUDIES, LOOP)

if __name__ == "__main__":
    run(CAMPAIGN, __doc__)
