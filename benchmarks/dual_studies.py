"""The studies of dual regression on small networks: equal steps, three seeds, mean and spread.

    python benchmarks/dual_studies.py STUDY ... --data DIR --runs DIR [--steps 3000] [--seeds 0 1 2]

STUDY is one of dual, whole, lambda, x8, or ``all``. ``--data`` holds train, train_extra, val, Set5 and Set14;
``--runs`` keeps what was trained: a second call goes on where the first was stopped, whatever the moment. Writes
``docs/results/dual_studies.json`` and ``.md`` after each network; what they hold of other networks stays.

DRN is that of four channels at the large size and two blocks a stage, 41 K parameters, with its maps by steps of two;
RFN, of 16 channels, gives no images between, and has one map for the whole scale.
"""

from studies import Campaign, Study, Variant, run

# The method's loss, and the optimiser of all studies here. Dual maps have 16 channels inside: four, the width of this
# DRN at the large size, do not learn to bring an image down in so few steps (docs/methods/dual_regression.md).
LOOP = {
    "kind": "plain",
    "batch": 8,
    "crop": 24,
    "lr": 4e-3,
    "warmup": 100,
    "optimiser": "soap",
    "loss": "l1",
    "checkpoint_every": 500,
}
DRN, RFN, DRN_X8 = "drn_w4_b2_x4", "rfn_rfb1_w16_x4", "drn_w4_b2_x8"
X8 = {"crop": 12}


STUDIES = {
    "dual": Study(
        "Dual maps",
        "DRN-S x4 on Set5: 32.53 without, 32.68 with; a second loop on HR doubles the cost for almost nothing",
        (
            Variant("DRN, none", DRN),
            Variant("DRN, dual", DRN, {"dual": 0.1}),
            Variant("DRN, dual on HR too", DRN, {"dual": 0.1, "dual_loops": "both"}),
            Variant("DRN, one map for the whole scale", DRN, {"dual": 0.1, "dual_maps": "whole"}),
        ),
    ),
    "whole": Study(
        "A dual map for a network without images between",
        "SwinIR on Set5: 32.92 without, 33.03 with",
        (
            Variant("RFN, none", RFN),
            Variant("RFN, dual", RFN, {"dual": 0.1}),
            Variant("RFN, dual on HR too", RFN, {"dual": 0.1, "dual_loops": "both"}),
        ),
    ),
    "lambda": Study(
        "Weight of the dual loss",
        "rises from 0.001 to 0.1 and falls at 1 and 10 (DRN-S and DRN-L, x4, Set5)",
        tuple(Variant(f"{weight:g}", DRN, {"dual": weight}) for weight in (0.1, 0.0, 0.001, 0.01, 1.0, 10.0)),
    ),
    "x8": Study(
        "Dual maps at x8",
        "DRN-S x8 with dual maps: 27.41 on Set5; without is not known",
        (Variant("DRN, none", DRN_X8, X8), Variant("DRN, dual", DRN_X8, X8 | {"dual": 0.1})),
    ),
}
CAMPAIGN = Campaign("dual_studies", "Dual regression's studies on small networks", STUDIES, LOOP)

if __name__ == "__main__":
    run(CAMPAIGN, __doc__)
