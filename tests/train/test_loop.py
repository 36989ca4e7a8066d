"""The training loop: what it optimises, resumes, averages and refuses."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_optimizer import SOAP
from torch import nn

from thinlens.errors import RecipeError
from thinlens.train.checkpoint import KEPT, checkpoints, read_checkpoint, write_checkpoint
from thinlens.train.loop import Watch, create_optimiser, fit, rate
from thinlens.train.recipe import Loop, Plain

TARGET = torch.tensor([3.0, -2.0])


def settings(**changes: object) -> Loop:
    fields = {"steps": 40, "lr": 0.3, "warmup": 5, "ema": 0.5, "checkpoint_every": 7, "batch": 1}
    return Plain(**{**fields, **changes})  # type: ignore[arg-type]


class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.zeros(2))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.at + noise


def noisy_loss(module: nn.Module, step: int) -> torch.Tensor:
    noise = torch.randn(2, generator=torch.Generator().manual_seed(step))
    loss: torch.Tensor = (module(0.1 * noise) - TARGET).square().sum()
    return loss


def test_a_minimum_is_found_and_the_weights_are_the_averages() -> None:
    point = Point()
    fit(point, noisy_loss, settings(steps=300, ema=0.9), Watch())
    torch.testing.assert_close(point.at.detach(), TARGET, atol=0.05, rtol=0)


def test_without_averaging_the_last_weights_are_kept() -> None:
    averaged, last = Point(), Point()
    fit(averaged, noisy_loss, settings(ema=0.9), Watch())
    fit(last, noisy_loss, settings(ema=0.0), Watch())
    assert (averaged.at - last.at).abs().max() > 1e-3


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    values = [rate(step, settings()) for step in range(41)]
    assert values[0] == pytest.approx(0.3 / 5)
    assert max(values) == values[4] > 0.28
    assert values[40] == pytest.approx(0, abs=1e-9)
    assert rate(0, settings(warmup=0)) == 0.3


def stopping_at(step: int) -> Callable[[nn.Module, int], torch.Tensor]:
    def loss(module: nn.Module, at: int) -> torch.Tensor:
        if at == step:
            raise KeyboardInterrupt
        return noisy_loss(module, at)

    return loss


@pytest.mark.parametrize("stop", [3, 7, 8, 39])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, stop: int) -> None:
    whole, resumed = Point(), Point()
    fit(whole, noisy_loss, settings(), Watch())
    with pytest.raises(KeyboardInterrupt):
        fit(Point(), stopping_at(stop), settings(), Watch(folder=tmp_path))
    fit(resumed, noisy_loss, settings(), Watch(folder=tmp_path))
    assert torch.equal(whole.at, resumed.at)


def test_a_finished_training_is_taken_from_its_last_checkpoint(tmp_path: Path) -> None:
    first, again = Point(), Point()
    fit(first, noisy_loss, settings(), Watch(folder=tmp_path))
    fit(again, stopping_at(0), settings(), Watch(folder=tmp_path))
    assert torch.equal(first.at, again.at)


def test_a_killed_process_goes_on_bit_for_bit(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from tests.train.test_loop import Point, Watch, fit, noisy_loss, settings

        def loss(module, step):
            if step == 23:
                os.kill(os.getpid(), 9)
            return noisy_loss(module, step)

        fit(Point(), loss, settings(), Watch(folder=Path(sys.argv[1])))
        """
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, paths])}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    whole, resumed = Point(), Point()
    fit(whole, noisy_loss, settings(), Watch())
    fit(resumed, noisy_loss, settings(), Watch(folder=tmp_path))
    assert torch.equal(whole.at, resumed.at)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["resumed_at"] for line in lines if "resumed_at" in line] == [21]


def test_parts_of_a_training_have_checkpoints_of_their_own(tmp_path: Path) -> None:
    for name in ("phase 0 0", "phase 0 1"):
        fit(Point(), noisy_loss, settings(), Watch(name, tmp_path))
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["phase_0_0", "phase_0_1"]


def test_progress_is_told_and_the_log_is_json(tmp_path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    fit(Point(), noisy_loss, settings(), Watch("a", tmp_path, lambda *now: told.append(now)))
    assert told == [("a", 40, 40)]
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line).keys() == {"part", "step", "loss", "lr", "seconds", "core_seconds"}


def test_a_loss_that_is_not_finite_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"training: the loss is nan at step 40; lower `loop\.lr` \(it is 0\.3\)"):
        fit(Point(), lambda module, step: noisy_loss(module, step) * float("nan"), settings(), Watch())


def test_a_missing_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"`loop\.accelerator`: got \"cuda\", but torch finds no CUDA device"):
        fit(Point(), noisy_loss, settings(accelerator="cuda"), Watch())


def test_the_newest_checkpoints_are_kept_and_the_newest_sound_one_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step, {"step": step, "values": torch.full((2,), float(step))})
    newest, older = checkpoints(tmp_path)
    assert KEPT == 2
    newest.write_bytes(newest.read_bytes()[:-40])
    state = read_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 2
    assert "is damaged" in caplog.text
    older.write_bytes(b"")
    assert read_checkpoint(tmp_path) is None


def test_a_checkpoint_that_would_execute_something_is_passed_over(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, {"step": 1})
    torch.save({"step": 2, "evil": Point()}, tmp_path / "step_00000002.pt")
    assert read_checkpoint(tmp_path) == {"step": 1}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-30, 1e-15, 1e-8, 1.0])
def test_soap_begins_with_a_basis_however_small_the_gradients_are(
    monkeypatch: pytest.MonkeyPatch, size: float, *, fails: bool
) -> None:
    """Found in training: eigenvectors that are not numbers, of a matrix of 1e-15, by LAPACK."""
    gradient = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    matrix = (size * (gradient @ gradient.T).double()).float()
    if fails:
        nothing = staticmethod(lambda matrices: [torch.full_like(m, torch.nan) for m in matrices])
        monkeypatch.setattr(SOAP, "get_orthogonal_matrix", nothing)
    optimiser: Any = create_optimiser(Point(), settings())
    (basis,) = optimiser.get_orthogonal_matrix([matrix])
    torch.testing.assert_close(basis.T @ basis, torch.eye(16), atol=1e-5, rtol=0)
    if size > 1e-40:
        turned = basis.double().T @ matrix.double() @ basis.double()
        assert bool((turned.diagonal().diff() <= 1e-5 * size).all())  # the largest first
