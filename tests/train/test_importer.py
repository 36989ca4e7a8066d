"""Importing published weight files: the right network, the same function, and refusals that say why."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from thinlens.errors import ModelError, UnknownNameError
from thinlens.model.plan import Plan
from thinlens.model.value_range import to_unit_range
from thinlens.runtime.reference.rows import run_rows
from thinlens.train.importer import create, import_weights, official_name, official_shapes
from thinlens.train.networks import configurations
from thinlens.train.networks.drn import DrnConfig, compressed_widths


def published(name, folder, stem=None, seed=0):
    """A file as published for a configuration, with random weights."""
    configuration = configurations()[name]
    generator = torch.Generator().manual_seed(seed)
    state = {key: torch.randn(shape, generator=generator) for key, shape in official_shapes(configuration).items()}
    path = folder / f"{stem or official_name(configuration)}.model"
    torch.save(state, path)
    return path, state


def restored(model, lq):
    plan: Plan = model.plan
    height = plan.sizes(lq.shape)[plan.outputs["image"]][0]
    return run_rows(plan, model.tensors, (0, lq[None]), lq.shape, (0, height))[0]


LQ = np.random.default_rng(0).random((6, 7), np.float32)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("edge_sr_max_k5_c2_x4", "eSR-MAX_s4_K5_C2"),
        ("edge_sr_tm_k5_c4_x2", "eSR-TM_s2_K5_C4"),
        ("edge_sr_cnn_c4_d3_s6_x3", "eSR-CNN_s3_C4_D3_S6"),
        ("espcn_d0_s9_x2", "ESPCN_s2_D0_S9"),
        ("fsrcnn_d32_s6_m4_x3", "FSRCNN_s3_D32_S6_M4"),
        ("bicubic_x3", "Bicubic_s3"),
    ],
)
def test_the_official_name_tells(tmp_path, name, stem):
    path, _ = published(name, tmp_path)
    assert path.stem == stem
    model = import_weights(path).model
    model.check()
    assert model.card.name == name
    assert model.card.training.schedule == "imported"
    assert restored(model, LQ).shape == (6 * model.card.scale, 7 * model.card.scale)


def test_espcn_is_the_published_function(tmp_path):
    path, w = published("espcn_d2_s3_x2", tmp_path)
    x = torch.from_numpy(LQ)[None, None]
    for i in (0, 2, 4):
        x = torch.nn.functional.conv2d(x, w[f"net.{i}.weight"], w[f"net.{i}.bias"], padding="same")
        x = x.tanh() if i < 4 else torch.nn.functional.pixel_shuffle(x, 2).sigmoid()
    assert np.abs(restored(import_weights(path).model, LQ) - x[0, 0].numpy()).max() < 1e-5


@pytest.mark.parametrize(("scale", "padding", "extra"), [(2, 4, 1), (3, 3, 0), (4, 3, 1)])
def test_fsrcnn_is_the_published_function(tmp_path, scale, padding, extra):
    path, w = published(f"fsrcnn_d6_s3_m1_x{scale}", tmp_path)
    x = torch.from_numpy(LQ)[None, None]
    for i in range(0, 8, 2):
        x = torch.nn.functional.conv2d(x, w[f"net.{i}.weight"], w[f"net.{i}.bias"], padding="same")
        x = torch.nn.functional.prelu(x, w[f"net.{i + 1}.weight"])
    tail = w["net.8.weight"], w["net.8.bias"]
    x = torch.nn.functional.conv_transpose2d(x, *tail, stride=scale, padding=padding, output_padding=extra)
    assert np.abs(restored(import_weights(path).model, LQ) - x[0, 0].numpy()).max() < 1e-3 * float(x.abs().max())


def conv(w, name, x, **fields):
    weight = w[f"{name}.weight"]
    fields = {"padding": weight.shape[2] // 2} | fields
    return F.conv2d(x, weight, w[f"{name}.bias"], **fields)


def leaky(x):
    return F.leaky_relu(x, 0.05)


def spatial_attention(w, name, z, convs):
    """As the fact sheets of the networks word it."""
    reduced = conv(w, f"{name}.conv1", z)
    a = F.max_pool2d(conv(w, f"{name}.conv2", reduced, stride=2, padding=0), 7, 3)
    for last, c in enumerate(convs, start=1 - len(convs)):
        a = conv(w, f"{name}.{c}", a) if last == 0 else conv(w, f"{name}.{c}", a).relu()
    a = F.interpolate(a, z.shape[2:], mode="bilinear", align_corners=False) + conv(w, f"{name}.conv_f", reduced)
    return z * conv(w, f"{name}.conv4", a).sigmoid()


def rep_rfn(w, x):
    shallow = z = conv(w, "fea_conv", x)
    for b in range(1, 5):
        block, before = f"reprfb{b}", z
        for i in range(1, 4):
            z = leaky(conv(w, f"{block}.repblock{i}.rbr_reparam", z))
        z = spatial_attention(w, f"{block}.esa", leaky(conv(w, f"{block}.conv3", z)) + before, ["conv3"])
    return conv(w, "upsampler.conv", conv(w, "lr_conv", z) + shallow)


def rfdn(w, x):
    shallow = z = conv(w, "fea_conv", 255 * x)
    collected = []
    for b in range(1, 5):
        kept = []
        for i in range(1, 4):
            kept.append(leaky(conv(w, f"B{b}.c{i}_d", z)))
            z = leaky(conv(w, f"B{b}.c{i}_r", z) + z)
        kept.append(leaky(conv(w, f"B{b}.c4", z)))
        z = spatial_attention(w, f"B{b}.esa", conv(w, f"B{b}.c5", torch.cat(kept, 1)), ["conv_max", "conv3", "conv3_"])
        collected.append(z)
    z = leaky(conv(w, "c.0", torch.cat(collected, 1)))
    return conv(w, "upsampler.0", conv(w, "LR_conv", z) + shallow) / 255


def imdn(w, x):
    shallow = z = conv(w, "fea_conv", x)
    collected = []
    for b in range(1, 7):
        block, kept, rest = f"IMDB{b}", [], z
        for i in range(1, 4):
            made = leaky(conv(w, f"{block}.c{i}", rest))
            kept.append(made[:, :16])
            rest = made[:, 16:]
        y = torch.cat([*kept, conv(w, f"{block}.c4", rest)], 1)
        contrast = y.std((2, 3), correction=0, keepdim=True) + y.mean((2, 3), keepdim=True)
        gate = conv(w, f"{block}.cca.conv_du.2", conv(w, f"{block}.cca.conv_du.0", contrast).relu()).sigmoid()
        z = conv(w, f"{block}.c5", y * gate) + z
        collected.append(z)
    z = leaky(conv(w, "c.0", torch.cat(collected, 1)))
    return conv(w, "upsampler.0", conv(w, "LR_conv", z) + shallow)


OFFICIAL = {
    "rep_rfn_x4": ("reprfn_ntire_x4", rep_rfn, (0.0, 1.0)),
    "rep_rfn_x2": ("reprfn_ntire_x2", rep_rfn, (0.0, 1.0)),
    "rfdn_x4": ("RFDN_AIM", rfdn, (0.0, 255.0)),
    "imdn_x4": ("IMDN_x4", imdn, (0.0, 1.0)),
    "imdn_x3": ("IMDN_x3", imdn, (0.0, 1.0)),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_networks_in_colour_are_the_published_functions(tmp_path, name):
    stem, function, value_range = OFFICIAL[name]
    path, state = published(name, tmp_path)
    assert path.stem == stem
    generator = torch.Generator().manual_seed(1)
    state = {
        key: torch.randn(value.shape, generator=generator) * value[0].numel() ** -0.5 if value.ndim > 1 else value * 0.1
        for key, value in state.items()
    }
    torch.save(state, path)
    imported = import_weights(path)
    assert (imported.model.card.name, imported.model.card.colour) == (name, "rgb")
    assert imported.model.card.value_range == value_range
    assert [note[:16] for note in imported.notes] == (["official RFDN we"] if "rfdn" in name else [])
    imported.model.check()
    for size in [(15, 17), (23, 31)]:
        lq = np.random.default_rng(0).random((3, *size), np.float32)
        expected = F.pixel_shuffle(function(state, torch.from_numpy(lq)[None]), imported.model.card.scale)[0].numpy()
        unit = to_unit_range(imported.model)
        found = run_rows(unit.plan, unit.tensors, (0, lq), size, (0, expected.shape[1]))
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
        assert np.ptp(expected) > 1e-3


def binary(w, name, x, shortcut=None):
    """A unit as published, with the sign of 0 as 0; the random numbers here hold no zeros."""
    bits = (x + w[f"{name}.move0.bias"]).sign()
    latent = w[f"{name}.binary_conv.weight"]
    weight = latent.abs().mean((1, 2, 3), keepdim=True) * latent.sign()
    c = F.conv2d(bits, weight, w.get(f"{name}.binary_conv.bias"), padding=1) + w[f"{name}.relu.pr_bias0.bias"]
    c = F.prelu(c, w[f"{name}.relu.pr_prelu.weight"]) + w[f"{name}.relu.pr_bias1.bias"]
    return c if shortcut is None else c + shortcut


def leaky_tenth(x):
    return F.leaky_relu(x, 0.1)


def bbcu_sr(w, lq, steps, *, binary_upsampler):
    """BBCU-L and -M; where the upsampler is binary, the nearest neighbour is added behind the pixel shuffle."""
    image = 130 * lq
    x = leaky_tenth(conv(w, "conv_first", image))
    for i in range(16):
        for j in range(2):
            x = binary(w, f"body.{i}.body.{j}", x, x)
    for i, r in enumerate(steps, start=1):
        if binary_upsampler:
            nearest = F.interpolate(x, scale_factor=r, mode="nearest")
            x = F.pixel_shuffle(binary(w, f"upconv{i}", x), r) + nearest
        else:
            x = leaky_tenth(F.pixel_shuffle(conv(w, f"upconv{i}", x), r))
    x = leaky_tenth(binary(w, "conv_hr", x, x) if binary_upsampler else conv(w, "conv_hr", x))
    scale = int(np.prod(steps))
    return (conv(w, "conv_last", x) + F.interpolate(image, scale_factor=scale, mode="bilinear")) / 130


def bbcu_same_size(w, lq):
    x = F.conv2d(130 * lq, w["model.0.weight"], w.get("model.0.bias"), padding=1).relu()
    for i in range(2, 20):
        x = binary(w, f"model.{i}", x, x)
    return (130 * lq - F.conv2d(x, w["model.20.weight"], w.get("model.20.bias"), padding=1)) / 130


BBCU = {
    "bbcu_l_x2": lambda w, x: bbcu_sr(w, x, [2], binary_upsampler=False),
    "bbcu_l_x4": lambda w, x: bbcu_sr(w, x, [2, 2], binary_upsampler=False),
    "bbcu_m_x3": lambda w, x: bbcu_sr(w, x, [3], binary_upsampler=True),
    "bbcu_m_x4": lambda w, x: bbcu_sr(w, x, [2, 2], binary_upsampler=True),
    "bbcu_denoise": bbcu_same_size,
    "bbcu_deblock": bbcu_same_size,
}


@pytest.mark.parametrize("name", BBCU)
def test_binary_networks_are_the_published_functions(tmp_path, name):
    """In double precision, so that rounding flips no bit that the other keeps, but for those within it of 0."""
    path, state = published(name, tmp_path, stem="net_g_latest")
    state = {
        key: value * (0.5 * value[0].numel() ** -0.5 if value.shape[1:2] != (1,) and value.ndim == 4 else 0.1)
        for key, value in state.items()
    }
    torch.save({"params": state}, path)
    imported = import_weights(path, family="bbcu")
    imported.model.check()
    card = imported.model.card
    assert (card.name, imported.notes) == (name, ())
    assert card.task == (name.removeprefix("bbcu_") if "_de" in name else "sr")
    channels = 1 if name == "bbcu_deblock" else 3
    lq = np.random.default_rng(0).random((channels, 7, 9), np.float32)
    network = create(configurations()[name], state).double()
    double = {key: value.double() for key, value in state.items()}
    with torch.no_grad():
        expected = BBCU[name](double, torch.from_numpy(lq)[None].double())
        by_double = network(torch.from_numpy(lq)[None].double())
    assert (by_double - expected).abs().max() < 1e-6  # weights of the bilinear are float32
    found = run_rows(imported.model.plan, imported.model.tensors, (0, lq), (7, 9), (0, 7 * card.scale))
    assert np.sqrt(np.square(found - expected[0].numpy()).mean()) < 1e-3


def test_zeros_where_signs_are_taken_are_told(tmp_path):
    path, state = published("bbcu_denoise", tmp_path)
    state["model.5.move0.bias"][0, 3] = 0
    state["model.7.binary_conv.weight"][0, 0, 0, :2] = 0
    torch.save(state, path)
    weights, thresholds = import_weights(path).notes
    assert weights.startswith("2 binary weights are exactly 0; they become +1")
    assert thresholds.startswith("1 channels have a threshold of exactly 0")


def test_versions_that_were_never_published_are_not_imported(tmp_path):
    path, _ = published("bbcu_l_x2", tmp_path)
    with pytest.raises(ModelError, match="not those of `bbcu_l_v3_x2`; they fit: `bbcu_l_x2`"):
        import_weights(path, name="bbcu_l_v3_x2")


def test_files_saved_on_several_gpus(tmp_path):
    path, state = published("imdn_x4", tmp_path)
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    assert import_weights(path).model.card.name == "imdn_x4"
    state["module.c.0.weight"] = state.pop("c.0.weight")
    torch.save(state, path)
    with pytest.raises(ModelError, match="no known network"):
        import_weights(path)


def test_the_misaligned_bicubic_is_named(tmp_path):
    assert "misaligned" in import_weights(published("bicubic_x3", tmp_path)[0]).notes[0]
    assert import_weights(published("bicubic_x2", tmp_path)[0]).notes == ()


def test_a_name_overrules_the_file(tmp_path):
    path, _ = published("edge_sr_max_k5_c2_x4", tmp_path)
    assert import_weights(path, name="edge_sr_tm_k5_c4_x2").model.card.scale == 2
    with pytest.raises(ModelError, match=r"not those of `espcn_d16_s32_x2`; they fit: .*`edge_sr_max_k5_c2_x4`"):
        import_weights(path, name="espcn_d16_s32_x2")
    with pytest.raises(UnknownNameError, match="did you mean"):
        import_weights(path, name="edge_sr_max_k5_c2_x5")


def test_what_neither_tells_is_said(tmp_path):
    path, _ = published("edge_sr_max_k5_c2_x4", tmp_path, stem="mystery")
    with pytest.raises(ModelError, match=r"fit .*`edge_sr_tm_k5_c4_x2`.*say which with `--name`"):
        import_weights(path)
    path, _ = published("espcn_d16_s32_x4", tmp_path, stem="mystery2")
    assert import_weights(path).model.card.name == "espcn_d16_s32_x4"


def test_a_family_narrows_the_choice(tmp_path):
    path, _ = published("espcn_d16_s32_x2", tmp_path)
    with pytest.raises(ModelError, match="no known network"):
        import_weights(path, family="fsrcnn")


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"filter.weight": Harmful()}, "read safely"),
        ([1, 2], "does not hold named, finite"),
        ({"filter.weight": torch.full((4, 1, 3, 3), torch.nan)}, "does not hold named, finite"),
        ({"filter.weight": torch.zeros(4, 1, 3, 3, dtype=torch.int32)}, "does not hold named, finite"),
        (
            {"filter.weight": torch.zeros(4, 1, 3, 3), "more": torch.zeros(1)},
            "fit no known network; accepted: official",
        ),
        ({}, "fit no known network"),
        ({"filter.weight": torch.zeros(1).expand(4, 1, 3, 3)}, "does not hold named, finite"),
        ({"filter.weight": torch.zeros(4, 1, 3, 3, device="meta")}, "read safely|does not hold named, finite"),
    ],
)
def test_hostile_files(tmp_path, capsys, content, message):
    path = tmp_path / "eSR-MAX_s2_K3_C1.model"
    torch.save(content, path)
    with pytest.raises(ModelError, match=message):
        import_weights(path)
    assert "executed" not in capsys.readouterr().out


def test_a_model_file_needs_no_import(tmp_path):
    with pytest.raises(ModelError, match="a thinlens model needs no import"):
        import_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize("cut", [0, 1, 300])
def test_truncated_files(tmp_path, cut):
    path, _ = published("edge_sr_max_k3_c1_x2", tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelError, match="read safely"):
        import_weights(path)
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        import_weights(tmp_path / "none.model")


def published_drn(state, lq, scale, blocks):
    """DRN as its paper draws it, by the names of its published class."""

    def plain(x, name, stride=1):
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2)

    steps, skips = scale.bit_length() - 1, []
    x = F.interpolate(lq, scale_factor=scale, mode="bicubic", align_corners=False)
    x = plain(plain(x, "sub_mean"), "head")
    for p in range(steps):
        skips.append(x)
        x = plain(F.leaky_relu(plain(x, f"down.{p}.dual_module.0.0", 2), 0.2), f"down.{p}.dual_module.1")
    for p in range(steps):
        for b in range(blocks):
            name = f"up_blocks.{p}.{b}.body"
            y = plain(F.relu(plain(x, f"{name}.0")), f"{name}.2")
            gate = F.relu(plain(y.mean((2, 3), keepdim=True), f"{name}.3.conv_du.0"))
            x = x + y * plain(gate, f"{name}.3.conv_du.2").sigmoid()
        x = plain(F.pixel_shuffle(plain(x, f"up_blocks.{p}.{blocks}.0"), 2), f"up_blocks.{p}.{blocks + 1}")
        x = torch.cat((x, skips[-1 - p]), 1)
    return plain(plain(x, f"tail.{steps}"), "add_mean")


@pytest.mark.parametrize("inner", [None, (3, 5, 9, 8, 7, 6, 5, 4)])
def test_drn_is_the_published_function_on_bytes(tmp_path, inner):
    config = DrnConfig(4, 4, 2, inner)
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.randn(s, generator=generator) * 0.2 for key, s in official_shapes(config).items()}
    assert {"down.1.dual_module.0.0.weight", "up_blocks.1.3.bias", "up_blocks.0.1.body.3.conv_du.2.bias"} <= set(state)
    torch.save(state, tmp_path / "a.pt")
    imported = import_weights(tmp_path / "a.pt", family="drn")
    model = imported.model
    model.check()
    assert (model.card.name, model.card.scale) == (config.name, 4)
    assert model.card.value_range == (0.0, 255.0)
    assert imported.notes == (
        "official DRN weights work on 0..255; the card says so, and whatever runs the model stretches pixels",
    )
    lq = torch.from_numpy(np.random.default_rng(0).random((1, 3, 6, 7), np.float32))
    wanted = published_drn(state, 255 * lq, 4, 2)[0] / 255
    unit = to_unit_range(model)
    found = run_rows(unit.plan, unit.tensors, (0, lq[0].numpy()), (6, 7), (0, 24))
    assert np.abs(found - wanted.numpy()).max() < 1e-4 * float(wanted.abs().max())


def test_a_compressed_drn_is_known_whichever_block_has_which_width(tmp_path):
    down, stages = (12, 20), compressed_widths(4, "s30")[2:]
    inner = (*down, *stages[29::-1], stages[30], *stages[31:])
    state = {key: torch.zeros(shape) for key, shape in official_shapes(DrnConfig(4, 16, 30, inner)).items()}
    torch.save(state, tmp_path / "a.pt")
    card = import_weights(tmp_path / "a.pt", name="drn_s30_x4").model.card
    assert (card.name, card.params) == ("drn_s30_x4", 3_116_637)
    state.pop("tail.0.bias")
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="fit no known network"):
        import_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("shape", [(16, 0, 3, 3), (16, 5000, 3, 3), (16,)])
def test_a_drn_of_absurd_sizes_is_none(tmp_path, shape):
    state = {key: torch.zeros(s) for key, s in official_shapes(DrnConfig(4, 4, 1)).items()}
    state["up_blocks.0.0.body.2.weight"] = torch.zeros(shape)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="fit no known network"):
        import_weights(tmp_path / "a.pt")
