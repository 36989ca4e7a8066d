"""The studies of RepRFN's paper at 16 channels: equal steps, three seeds, mean and spread.

    python benchmarks/rep_rfn_studies.py STUDY ... --data DIR --runs DIR [--steps 3000] [--seeds 0 1 2]

STUDY is one of blocks, redundancy, branches, losses, optimisers, or ``all``. ``--data`` holds train, train_extra, val,
Set5 and Set14; ``--runs`` keeps what was trained: a second call goes on where the first was stopped, whatever the
moment. Writes ``docs/results/rep_rfn_studies.json`` and ``.md`` after each network; what they hold of other networks
stays. In ``optimisers`` the time is equal and not the steps: those of the slower ones are cut by what a step takes.
"""

from studies import Campaign, Study, Variant, run

from thinlens.train.blocks.rep_conv import BRANCHES

# All studies train alike but for what they study: the paper's loss, RepRFN's own optimiser here.
LOOP = {
    "kind": "plain",
    "batch": 8,
    "crop": 32,
    "lr": 3e-3,
    "warmup": 100,
    "optimiser": "soap",
    "loss": "charbonnier",
    "fourier": 0.1,
    "checkpoint_every": 500,
}
REP_RFN, PLAIN = "rep_rfn_w16_x4", "rfn_rfb1_unmixed_reduced_w16_x4"


STUDIES = {
    "blocks": Study(
        "Residual feature blocks",
        "RFB1 = RFB3, RFB2 slightly below; RFDN* about 0.02 dB above RFN (DIV2K validation, 48 channels)",
        (
            *(Variant(block, f"rfn_{block}_w16_x4") for block in ("plain", "rfb1", "rfb2", "rfb3")),
            Variant("rfb1, a skip around each convolution", "rfn_rfb1_each_w16_x4"),
            Variant("RFDN*", "rfdn_w16_x4"),
        ),
    ),
    "redundancy": Study(
        "What the authors left out",
        "the 1x1 convolution and two of the attention's three go without loss",
        (
            Variant("rfb1", "rfn_rfb1_w16_x4"),
            Variant("without the 1x1 convolution", "rfn_rfb1_unmixed_w16_x4"),
            Variant("attention reduced", "rfn_rfb1_reduced_w16_x4"),
            Variant("both", PLAIN),
            Variant("RFDN*", "rfdn_w16_x4"),
            Variant("RFDN*, attention reduced", "rfdn_reduced_w16_x4"),
        ),
    ),
    "branches": Study(
        "Branches, each left out",
        "not told one by one",
        (
            Variant("all nine", REP_RFN),
            *(
                Variant(f"without {gone}", REP_RFN, {"branches": [b for b in BRANCHES if b != gone]})
                for gone in BRANCHES
            ),
            Variant("3x3 alone", REP_RFN, {"branches": ["3x3"]}),
        ),
    ),
    "losses": Study(
        "Losses, with and without the Fourier loss",
        "Charbonnier above L1; the Fourier loss above none",
        tuple(
            Variant(f"{loss}{' + Fourier' if weight else ''}", REP_RFN, {"loss": loss, "fourier": weight})
            for loss in ("charbonnier", "l1", "l2")
            for weight in (0.1, 0.0)
        ),
    ),
    "optimisers": Study(
        "Branches and optimisers, equal time",
        "trained by Adam at 5e-4, with branches",
        tuple(
            Variant(
                f"{optimiser} at {lr:g}, {'branches' if branches else 'plain'}",
                network,
                {"optimiser": optimiser, "lr": lr},
            )
            for optimiser, lr in (("adam", 5e-4), ("adam", 4e-3), ("soap", LOOP["lr"]))
            for branches, network in ((True, REP_RFN), (False, PLAIN))
        ),
        equal_time=True,
    ),
}

CAMPAIGN = Campaign("rep_rfn_studies", "RepRFN's studies at 16 channels, x4", STUDIES, LOOP)

if __name__ == "__main__":
    run(CAMPAIGN, __doc__)
