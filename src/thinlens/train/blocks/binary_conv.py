"""The basic binary convolution unit, BBCU: signs in, signs as weights, and a skip around each convolution.

    b = sign(x + a)                 a: a threshold for each input channel; the sign of 0 is +1
    c = s conv(b, sign(W))          W: latent weights; s: mean of |W| for each output channel, without a gradient
    f(c) = prelu(c + g) + z         RPReLU: shift, slope and shift for each channel

    V1  f(norm(c) + x)              batch norm shrinks the branch to the range of the skip
    V2  f(c + x)                    without it, the branch swamps the skip
    V3  f(c + x), image times k     residual alignment: the skip grows instead
    V4  f(c) + x, image times k     the unit of the paper: what is negative in the skip survives

Zeros surround b, so what lies outside counts neither as -1 nor as +1. The same unit, with other pieces, is that of
other binary networks: see `FORMS`.

In training the convolution adds signs up, in whole numbers, and its sums are scaled after: as they are at work, so
that rounding does not flip signs further on between the two forms.

The map of the method: networks `train/networks/srresnet.py` and `train/networks/binary_dncnn.py`, the op
`model/ops/conv.py`, bits in a file `model/bits.py`.

Source: Xia et al., Basic Binary Convolution Unit for Binarized Image Restoration Network, ICLR 2023, section 3. What
its figures and text leave open is told in docs/methods/bbcu.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from thinlens.errors import RecipeError
from thinlens.model import ops
from thinlens.train.blocks.two_forms import TwoForms
from thinlens.train.ops import Add, Affine, BinaryConv2d, ChannelGather, Clamp, Conv2d, PixelShuffle, PRelu
from thinlens.train.ops.binary_conv import binary_sums, clip_sign, signs, soft_sign, tanh_sign
from thinlens.train.ops.conv import convolve

Unit = Literal["v1", "v2", "v3", "v4", "bnn", "bireal", "irnet", "btm", "reactnet"]
STEEPNESS = (0.1, 10.0)  # IR-Net's t at the beginning and at the end
SLOPE = 0.25  # of every PReLU at the beginning
ALIGNMENT = 130 / 64  # residual alignment for each feature channel, for images in 0..1


@dataclass(frozen=True)
class Form:
    """What a unit is made of.

    Args:
        sign: gradient of the activations' sign: two ``parabola`` pieces, ``clip`` or the ever steeper ``tanh``.
        weights: ``scaled`` by the mean of their magnitudes, not scaled (``plain``), or ``balanced``: without their
            mean, over their deviation, scaled by a power of two.
        threshold: whether inputs have one.
        norm: whether batch norm follows the convolution.
        activation: ``rprelu``, ``prelu``, ``clamp`` to -1..1, or ``none``.
        after_sum: whether the activation stands behind the skip instead of within the branch.
        skip: whether the unit's input is added.
        aligned: whether the image is multiplied for residual alignment.
    """

    sign: Literal["parabola", "clip", "tanh"] = "parabola"
    weights: Literal["scaled", "plain", "balanced"] = "scaled"
    threshold: bool = True
    norm: bool = False
    activation: Literal["rprelu", "prelu", "clamp", "none"] = "rprelu"
    after_sum: bool = False
    skip: bool = True
    aligned: bool = False


V4 = Form(aligned=True)
V1 = Form(norm=True, after_sum=True)
# BNN: Hubara et al., NeurIPS 2016. Bi-Real: Liu et al., ECCV 2018. IR-Net: Qin et al., CVPR 2020. BTM: Jiang et al.,
# AAAI 2021. ReActNet: Liu et al., ECCV 2020, whose unit is V1.
FORMS: dict[Unit, Form] = {
    "v1": V1,
    "v2": replace(V4, after_sum=True, aligned=False),
    "v3": replace(V4, after_sum=True),
    "v4": V4,
    "bnn": Form(sign="clip", weights="plain", threshold=False, norm=True, activation="clamp", skip=False),
    "bireal": Form(threshold=False, norm=True, activation="none"),
    "irnet": Form(sign="tanh", weights="balanced", threshold=False, norm=True, activation="clamp", after_sum=True),
    "btm": Form(threshold=False, activation="prelu"),
    "reactnet": V1,
}


def alignment(unit: Unit, width: int) -> float:
    """What the image is multiplied by before a network of this unit: 130 for 64 channels, 1 without alignment."""
    return ALIGNMENT * width if FORMS[unit].aligned else 1.0


class _Latent(torch.autograd.Function):
    """Signs of latent weights. The scale is applied to the sums and thus would scale the gradient; it is taken out."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight, scale)
        return signs(weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        weight, scale = ctx.saved_tensors
        whole = grads[0] / torch.where(scale > 0, scale, 1)[:, None, None, None]
        return whole * (weight.abs() <= 1), None


class BinaryUnit(TwoForms):
    """A binary convolution with all that surrounds it, in its train form.

    Gains carry a network's residual alignment: ``in_gain`` where the unit reads the image, ``out_gain`` where it makes
    it. Activations are such that a factor can be moved through them.

    Args:
        op: record of the convolution; it keeps the size.
        form: the pieces.
        bias: whether the convolution has one; batch norm takes it away again.
        in_gain: factor on the input, > 0, before threshold and sign.
        out_gain: factor on the result of the branch, > 0.
        skip_gain: factor on the skip.

    Raises:
        RecipeError: if a result that is clamped has a gain.
    """

    def __init__(
        self,
        op: ops.BinaryConv2d,
        form: Form = V4,
        *,
        bias: bool = False,
        in_gain: float = 1.0,
        out_gain: float = 1.0,
        skip_gain: float = 1.0,
    ) -> None:
        super().__init__()
        if form.activation == "clamp" and out_gain != 1:
            raise RecipeError(f"out_gain: {out_gain:g} for a clamped result; accepted: 1")
        self.op, self.form = op, form
        self.in_gain, self.out_gain, self.skip_gain = in_gain, out_gain, skip_gain
        self.progress = 0.0  # of the training, 0 to 1; the loop sets it
        out, rprelu = op.out_channels, form.activation == "rprelu"
        self.weight = nn.Parameter(torch.empty(op.tensor_shapes()["weight"]))
        self.bias = nn.Parameter(torch.empty(out)) if bias and not form.norm else None
        self.threshold = nn.Parameter(torch.zeros(op.in_channels)) if form.threshold else None
        self.norm = nn.BatchNorm2d(out) if form.norm else None
        self.shift = nn.Parameter(torch.zeros(out)) if rprelu else None
        self.slopes = nn.Parameter(torch.full((out,), SLOPE)) if form.activation in ("rprelu", "prelu") else None
        self.last = nn.Parameter(torch.zeros(out)) if rprelu else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Latent weights and bias as torch's own layers have them."""
        bound = self.weight[0].numel() ** -0.5
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: torch.Tensor, shortcut: torch.Tensor | None = None) -> torch.Tensor:
        """``N C H W`` -> ``N C' H W``.

        Args:
            x: features, or the image.
            shortcut: what is added, ``N C' H W``; None: ``x``.
        """
        skip = None
        if self.form.skip:
            skip = x if shortcut is None else shortcut
            skip = skip if self.skip_gain == 1 else self.skip_gain * skip
        sums, shift = self._convolve(x)
        if self.form.after_sum:
            return self._activate(sums if skip is None else sums + skip, shift)
        made = self._activate(sums, shift)
        return made if skip is None else made + skip

    def fuse(self) -> nn.Module:
        """The ops that compute the same; batch norm by its running statistics."""
        with torch.no_grad():
            return FusedUnit(self)

    def fold(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Scale of the sums of signs and shift of what is scaled, ``(out,)`` each, batch norm and gain included."""
        scale = self._scale()
        shift: torch.Tensor | None = self.bias
        if self.norm is not None:
            mean, variance = self.norm.get_buffer("running_mean"), self.norm.get_buffer("running_var")
            factor = self.norm.weight * (variance + self.norm.eps).rsqrt()
            scale, shift = scale * factor, self.norm.bias - mean * factor
        if self.shift is not None:
            shift = self.shift if shift is None else shift + self.shift
        return self.out_gain * scale, None if shift is None else self.out_gain * shift

    def latent(self) -> torch.Tensor:
        """What the weights' signs are taken of, ``(out, in, kh, kw)``."""
        if self.form.weights != "balanced":
            return self.weight
        return (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std((1, 2, 3), keepdim=True)

    def _convolve(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Scaled sums, and what the activation has to add to them."""
        if self.form.weights == "plain" and self.training:
            with torch.no_grad():
                self.weight.clamp_(-1, 1)  # BNN: latent weights stay where they have a gradient
        if self.threshold is not None:
            x = x + self.threshold[:, None, None] / self.in_gain
        sums = binary_sums(self.op, self.in_gain * x, self._signs(), self._sign())
        if self.norm is not None and self.training:
            normed = self.norm(self._scale()[:, None, None] * sums)
            return self.out_gain * normed, None if self.shift is None else self.out_gain * self.shift
        scale, shift = self.fold()
        return scale[:, None, None] * sums, shift

    def _activate(self, x: torch.Tensor, shift: torch.Tensor | None) -> torch.Tensor:
        if shift is not None:
            x = x + shift[:, None, None]
        if self.form.activation == "clamp":
            return x.clamp(-1, 1)
        if self.slopes is not None:
            x = F.prelu(x, self.slopes)
        return x if self.last is None else x + self.out_gain * self.last[:, None, None]

    def _sign(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The sign of activations, with its gradient."""
        first, final = STEEPNESS
        steepness = first * (final / first) ** self.progress
        known: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"parabola": soft_sign, "clip": clip_sign}
        return known.get(self.form.sign, lambda x: tanh_sign(x, steepness))

    def _signs(self) -> torch.Tensor:
        if self.form.weights == "balanced":
            return self._sign()(self.latent())
        return _Latent.apply(self.weight, self._scale())  # type: ignore[no-any-return, no-untyped-call]

    def _scale(self) -> torch.Tensor:
        """Of the weights alone, ``(out,)``; without a gradient."""
        size = self.latent().detach().abs().mean((1, 2, 3))
        if self.form.weights == "plain":
            return torch.ones_like(size)
        return torch.exp2(size.log2().round()) if self.form.weights == "balanced" else size


class FusedUnit(nn.Module):
    """A `BinaryUnit` as ops, in the order in which the native engine runs them as one.

    V4: ``binary_conv2d``, ``affine`` (bias alone), ``prelu``, ``affine`` (bias alone), ``add``.
    """

    def __init__(self, unit: BinaryUnit) -> None:
        super().__init__()
        out, form = unit.op.out_channels, unit.form
        scale, shift = unit.fold()
        self.after_sum = form.after_sum
        self.conv = BinaryConv2d.of(unit.op)
        self.conv.weight.copy_(signs(unit.latent()))
        self.conv.scale.copy_(scale)
        if unit.threshold is not None:
            self.conv.threshold.copy_(unit.threshold / unit.in_gain)
        self.shift = _shift(shift)
        self.activation: nn.Module | None = Clamp(low=-1.0, high=1.0) if form.activation == "clamp" else None
        if unit.slopes is not None:
            self.activation = PRelu(slopes=out)
            self.activation.weight.copy_(unit.slopes)
        self.last = _shift(None if unit.last is None else unit.out_gain * unit.last)
        self.add = Add(b=unit.skip_gain) if form.skip else None

    def forward(self, x: torch.Tensor, shortcut: torch.Tensor | None = None) -> torch.Tensor:
        """``N C H W`` -> ``N C' H W``; arguments as of `BinaryUnit.forward`."""
        skip = x if shortcut is None else shortcut
        made: torch.Tensor = self.conv(x)
        if self.add is not None and self.after_sum:
            made = self.add(made, skip)
        for step in (self.shift, self.activation, self.last):
            if step is not None:
                made = step(made)
        if self.add is not None and not self.after_sum:
            made = self.add(made, skip)
        return made


def _shift(values: torch.Tensor | None) -> Affine | None:
    if values is None:
        return None
    op = Affine(channels=len(values), weight=False)
    op.bias.copy_(values)
    return op


class Widened(nn.Module):
    """A unit with more channels out than in; its shortcut repeats channels.

    Args:
        unit: the unit.
        channels: the input channel that each output channel has as its shortcut.
    """

    def __init__(self, unit: BinaryUnit, channels: Sequence[int]) -> None:
        super().__init__()
        self.gather = ChannelGather(channels=tuple(channels)) if unit.form.skip else None
        self.unit = unit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C' H W``."""
        made: torch.Tensor = self.unit(x) if self.gather is None else self.unit(x, self.gather(x))
        return made


class ScaledConv(TwoForms):
    """A convolution whose weights are trained as if what it reads, or what it makes, were scaled: the image's side.

    Args:
        op: record of the convolution.
        gain: factor on the weights.
        bias_gain: factor on the bias.
    """

    def __init__(self, op: ops.Conv2d, gain: float = 1.0, bias_gain: float = 1.0) -> None:
        super().__init__()
        self.op, self.gain, self.bias_gain = op, gain, bias_gain
        begun = Conv2d.of(op)
        self.weight = begun.weight
        self.bias = begun.bias if op.bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``N C H W`` -> ``N C' H' W'``."""
        return convolve(self.op, x, self.gain * self.weight, None if self.bias is None else self.bias_gain * self.bias)

    def fuse(self) -> nn.Module:
        """The convolution with the factors in its weights."""
        fused = Conv2d.of(self.op)
        with torch.no_grad():
            fused.weight.copy_(self.gain * self.weight)
            if self.bias is not None:
                fused.bias.copy_(self.bias_gain * self.bias)
        return fused


def body_unit(width: int, form: Form, *, bias: bool = False) -> BinaryUnit:
    """A 3x3 unit that keeps its channels: the body's, with the identity as its shortcut."""
    return BinaryUnit(_record(width, width), form, bias=bias)


def head_unit(channels: int, width: int, form: Form, gain: float) -> Widened:
    """A 3x3 unit from the image to features.

    The shortcut repeats each channel of the image ``width // channels`` times in a row, and then the first ones once
    more until there are enough.
    """
    times = width // channels
    repeated = [c for c in range(channels) for _ in range(times)]
    unit = BinaryUnit(_record(channels, width), form, in_gain=gain, skip_gain=gain)
    return Widened(unit, repeated + list(range(width - len(repeated))))


def upsampler_unit(width: int, scale: int, form: Form) -> nn.Module:
    """A 3x3 unit and a pixel shuffle; the shortcut is the input, each pixel repeated ``scale`` times both ways."""
    repeated = [c for c in range(width) for _ in range(scale**2)]
    return nn.Sequential(
        Widened(BinaryUnit(_record(width, width * scale**2), form), repeated), PixelShuffle(scale=scale)
    )


def tail_unit(width: int, channels: int, form: Form, gain: float) -> BinaryUnit:
    """A 3x3 unit from features to the image; its shortcut is an image."""
    return BinaryUnit(_record(width, channels), form, out_gain=1 / gain)


def _record(channels: int, out: int) -> ops.BinaryConv2d:
    return ops.BinaryConv2d(in_channels=channels, out_channels=out, kernel=(3, 3), padding=(1, 1))
