"""The one training loop: a module, a loss of (module, step), and what happens in between.

Adam, linear warm-up, cosine to zero, an exponential average of the weights, checkpoints, a log. Devices are Lightning
Fabric's job. The loss draws its batch as a function of the step alone, so a killed training resumes bit for bit.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from pytorch_optimizer import SOAP
from torch import nn

from thinlens.errors import RecipeError
from thinlens.train.blocks.binary_conv import BinaryUnit
from thinlens.train.checkpoint import read_checkpoint, write_checkpoint
from thinlens.train.recipe import Loop, Plain

BETAS = (0.9, 0.99)
SOAP_BETAS = (0.95, 0.95)
LOG_EVERY = 200

Loss = Callable[[nn.Module, int], torch.Tensor]
Progress = Callable[[str, float, float], None]


def ignore_progress(name: str, done: float, total: float) -> None:
    """Progress that nobody watches."""


class Paused(Exception):  # noqa: N818  # nothing is wrong
    """A training has used up its time; its checkpoint is where it goes on.

    Args:
        name: of the part that was at work.
        step: steps done.
        steps: in all.
    """

    def __init__(self, name: str, step: int, steps: int) -> None:
        super().__init__(f"{name}: paused after step {step} of {steps}")
        self.name, self.step, self.steps = name, step, steps


@dataclass(frozen=True)
class Watch:
    """Where a training leaves its traces, and how long it may take.

    Args:
        name: of this part of the training, such as ``phase 0 1``: for progress and log, and the checkpoints' folder.
        folder: holds ``log.jsonl`` and ``checkpoints/``; None: nothing is written.
        progress: called with (name, steps done, steps in all) now and then.
        until: by `time.monotonic`, when to save a checkpoint and raise `Paused`; None: never.
    """

    name: str = "training"
    folder: Path | None = None
    progress: Progress = ignore_progress
    until: float | None = None

    @property
    def checkpoints(self) -> Path | None:
        """The folder of this part's checkpoints."""
        return None if self.folder is None else self.folder / "checkpoints" / self.name.replace(" ", "_")

    def log(self, **fields: object) -> None:
        """Append one line to the log."""
        if self.folder is not None:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"part": self.name, **fields}) + "\n")


def fit(module: nn.Module, loss: Loss, settings: Loop, watch: Watch) -> None:
    """Train a module in place; it ends up with the averaged weights.

    Args:
        module: on the CPU; all its parameters are trained.
        loss: gives the scalar to be minimised for a module and a step (from 0); moves its batch to the device of the
            module's parameters.
        settings: steps, learning rate and the rest.
        watch: where checkpoints and log go. A sound checkpoint found there is where the training goes on.

    Raises:
        RecipeError: if the loss leaves the finite numbers, or there is no such accelerator.
        Paused: if the watch's time is up before the last step.
    """
    if settings.accelerator == "cuda" and not torch.cuda.is_available():
        raise RecipeError('`loop.accelerator`: got "cuda", but torch finds no CUDA device here; accepted: "cpu"')
    torch.set_num_threads(settings.threads)
    fabric = Fabric(accelerator=settings.accelerator, devices=1)
    wrapped, optimiser = fabric.setup(module, create_optimiser(module, settings))
    run = _Run(module, optimiser, [p.detach().clone() for p in module.parameters()])
    step, begun = run.resume(watch), (time.monotonic(), time.process_time())
    units = [unit for unit in module.modules() if isinstance(unit, BinaryUnit)]
    while step < settings.steps:
        for unit in units:
            unit.progress = step / settings.steps
        optimiser.param_groups[0]["lr"] = rate(step, settings)
        value = loss(wrapped, step)
        optimiser.zero_grad()
        fabric.backward(value)
        optimiser.step()
        run.average(step, settings.ema)
        step += 1
        pauses = watch.until is not None and step < settings.steps and time.monotonic() > watch.until
        if step % LOG_EVERY == 0 or step == settings.steps or pauses:
            _report(watch, step, settings, value.item(), begun)
        if step % settings.checkpoint_every == 0 or step == settings.steps or pauses:
            run.save(watch, step)
        if pauses:
            raise Paused(watch.name, step, settings.steps)
    run.finish()


class _Soap(SOAP):
    """SOAP that also begins well where gradients are so small that LAPACK's eigenvectors are not numbers."""

    @staticmethod
    def get_orthogonal_matrix(mat: Any) -> list[torch.Tensor]:
        """Eigenvectors of each matrix of a list, those of the largest eigenvalues first; an empty one stays empty."""
        found: list[torch.Tensor] = SOAP.get_orthogonal_matrix(mat)
        return [q if len(q) == 0 or q.isfinite().all() else _eigenvectors(m) for m, q in zip(mat, found, strict=True)]


def _eigenvectors(matrix: torch.Tensor) -> torch.Tensor:
    """Those of a symmetric matrix however small its numbers are, largest eigenvalue first."""
    scaled = matrix.double() / matrix.abs().max().double().clamp_min(torch.finfo(torch.float64).tiny)
    vectors: torch.Tensor = torch.linalg.eigh(scaled)[1]
    return vectors.flip(1).to(matrix.dtype)


def create_optimiser(module: nn.Module, settings: Loop) -> torch.optim.Optimizer:
    """Adam, or SOAP (Adam in the eigenbasis of Shampoo's preconditioner) where the settings ask for it.

    Source of SOAP: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, 2024, algorithm 3.
    """
    if isinstance(settings, Plain) and settings.optimiser == "soap":
        return _Soap(module.parameters(), lr=settings.lr, betas=SOAP_BETAS, weight_decay=0.0, precondition_frequency=10)
    return torch.optim.Adam(module.parameters(), settings.lr, BETAS, fused=True)


def rate(step: int, settings: Loop) -> float:
    """Learning rate of a step: linear over ``warmup`` steps, times a cosine that reaches zero after the last."""
    ramp = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    return settings.lr * ramp * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


@dataclass
class _Run:
    """The state of a training: what a checkpoint holds."""

    module: nn.Module
    optimiser: Any
    averages: list[torch.Tensor]

    def average(self, step: int, ema: float) -> None:
        """Move the averages towards the weights; the first steps count for less, they are far off."""
        share = 1 - min(ema, (step + 1) / (step + 10))
        for average, parameter in zip(self.averages, self.module.parameters(), strict=True):
            average.lerp_(parameter.detach(), share)

    def save(self, watch: Watch, step: int) -> None:
        if watch.checkpoints is not None:
            state = {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}
            write_checkpoint(watch.checkpoints, step, {"step": step, "averages": self.averages, **state})

    def resume(self, watch: Watch) -> int:
        """Take up the newest sound checkpoint; return the steps done."""
        state = None if watch.checkpoints is None else read_checkpoint(watch.checkpoints)
        if state is None:
            return 0
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averages = [average.to(own.device) for average, own in zip(state["averages"], self.averages, strict=True)]
        watch.log(resumed_at=state["step"])
        return int(state["step"])

    def finish(self) -> None:
        """Put the averages in the weights' place."""
        with torch.no_grad():
            for parameter, average in zip(self.module.parameters(), self.averages, strict=True):
                parameter.copy_(average)
        self.module.cpu()


def _report(watch: Watch, step: int, settings: Loop, loss: float, begun: tuple[float, float]) -> None:
    if not math.isfinite(loss):
        raise RecipeError(f"{watch.name}: the loss is {loss} at step {step}; lower `loop.lr` (it is {settings.lr})")
    seconds, core = (
        round(now - then, 3) for now, then in zip((time.monotonic(), time.process_time()), begun, strict=True)
    )
    watch.log(step=step, loss=loss, lr=rate(step - 1, settings), seconds=seconds, core_seconds=core)
    watch.progress(watch.name, step, settings.steps)
