"""Record of the one op that carries something from band to band: the memory of networks that read line by line.

Source: LineDL, whose inter-line correlation extraction is a convolutional LSTM over bands of rows (Shi et al.,
Convolutional LSTM Network, NeurIPS 2015, without peepholes).
"""

from typing import ClassVar, Literal

from thinlens.errors import PlanError
from thinlens.model.ops.border import NO_ROWS, Rows
from thinlens.model.ops.record import Channels, Cut, Fresh, Kept, KernelSize, Op, Size, Union, same_size

Align = Literal["same", "flip", "last"]
GATES = ("input", "forget", "output", "candidate")


class LineMemory(Op, frozen=True, kw_only=True, tag="line_memory"):
    """What band ``n`` gives from its own input and from what band ``n - 1`` gave; before the first band all is zero.

    ``lstm`` takes four values, what each gate sees of the band itself, and adds what it sees of the hidden state:

        i = sigmoid(x_i + W_i * h)   f = sigmoid(x_f + W_f * h)   o = sigmoid(x_o + W_o * h)   g = tanh(x_g + W_g * h)
        s <- f s + i g               h <- o tanh(s), which is the output

    ``h`` and ``s`` are those of the band before, row for row (``same``), upside down, so that rows that touch meet
    (``flip``), or its last row for every row (``last``). The convolutions of ``h`` pad with zeros at the band's edges.
    ``sum`` takes one value and adds the output of the band before, aligned alike.

    Inputs: the values in bands, then an image of the batch (what `Bands` read), which tells how many images there are.
    Tensors of ``lstm``: ``input``, ``forget``, ``output``, ``candidate``, each (channels, channels, kh, kw).
    """

    recurrent: ClassVar[bool] = True

    channels: Channels
    cell: Literal["lstm", "sum"] = "lstm"
    kernel: tuple[KernelSize, KernelSize] = (3, 3)
    align: Align = "same"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(side % 2 for side in self.kernel):
            raise PlanError(f"`line_memory`: the kernel is {self.kernel}; accepted: odd sides")

    @property
    def gates(self) -> int:
        """How many values in bands it reads."""
        return len(GATES) if self.cell == "lstm" else 1

    @property
    def arity(self) -> int:
        """The gates, and an image."""
        return self.gates + 1

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the convolutions of the hidden state."""
        shape = (self.channels, self.channels, *self.kernel)
        return dict.fromkeys(GATES, shape) if self.cell == "lstm" else {}

    def channels_out(self, channels: tuple[int, ...]) -> int:
        """The record's own number, if all gates have as many."""
        if set(channels[:-1]) != {self.channels}:
            raise PlanError(f"`line_memory`: inputs have {channels[:-1]} channels; accepted: {self.channels} each")
        return self.channels

    def out_size(self, sizes: tuple[Size, ...]) -> Size:
        """That of a band."""
        return same_size(self, sizes[:-1])

    def in_rows(self, rows: Rows, sizes: tuple[Size, ...]) -> tuple[Rows, ...]:
        """All rows down to the last one: the bands above reach any row below them."""
        return ((0, rows[1]),) * self.gates + (NO_ROWS,)

    def macs(self, channels: tuple[int, ...], out_size: Size) -> int:
        """One per weight and output pixel."""
        taps = self.kernel[0] * self.kernel[1] * self.channels
        return len(self.tensor_shapes()) * taps * self.channels * out_size[0] * out_size[1]

    def tie(self, ties: tuple[list[int], ...], union: Union, fresh: Fresh) -> list[int]:
        """A channel of every gate, of the state and of the output are one."""
        joined = ties[0]
        for other in ties[1:-1]:
            joined = [union(a, b) for a, b in zip(joined, other, strict=True)]
        return joined

    def cut(self, kept: tuple[Kept, ...], made: Kept) -> Cut:
        """The state's channels go on both sides of each convolution."""
        return self.with_fields(channels=len(made)), dict.fromkeys(self.tensor_shapes(), (made, made))
