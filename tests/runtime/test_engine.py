"""Plans and sessions of the native engine, as Python holds them."""

import _thread
import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.conftest import template_matching_model
from thinlens.errors import ModelError, PlanError, UnknownNameError
from thinlens.runtime import engine as engine_module
from thinlens.runtime import library
from thinlens.runtime.compile import ImageKind, compile_plan
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import Request


def load(isa=None, change=None):
    model = template_matching_model()
    if change is not None:
        change(model.tensors["filter.weight"])
    return NativePlan(compile_plan(model.plan, model.tensors, ImageKind(1, "uint8"), 2).data, isa)


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def restored(plan, image, threads=1, progress=None):
    out = np.empty((2 * image.shape[0], 2 * image.shape[1]), image.dtype)
    plan.run(image, out, threads, progress)
    return out


@pytest.mark.parametrize("isa", library.isa_names())
def test_every_instruction_set_gives_the_same_bits(isa):
    plan, image = load(isa), picture(37, 53)
    assert plan.isa == isa
    np.testing.assert_array_equal(restored(plan, image), restored(load("scalar"), image))


def test_the_best_instruction_set_runs_unless_told():
    assert load().isa == library.isa_names()[0]
    with pytest.raises(UnknownNameError):
        load("mmx")


def test_threads_change_nothing():
    plan, image = load(), picture(61, 47)
    for threads in (2, 3, 64):
        np.testing.assert_array_equal(restored(plan, image, threads), restored(plan, image))


@pytest.mark.parametrize("data", [b"", b"THINLENS", b"\0" * 64])
def test_damaged_plans_are_errors(data):
    with pytest.raises(PlanError):
        NativePlan(data)


def test_sizes_and_bytes_are_told_before():
    plan = load()
    assert plan.out_size(100, 50) == (200, 100)
    schedule = plan.schedule(Request(100, 50, 0, 0))
    assert (schedule.out_width, schedule.out_height, schedule.out_channels) == (200, 100, 1)
    assert (schedule.halo_above, schedule.halo_below, schedule.latency_rows) == (2, 2, 2)
    assert 0 < schedule.buffer_bytes <= plan.run_bytes(Request(100, 50, 0, 0), 1)
    assert plan.weight_bytes > 0


def test_progress_comes_to_the_calling_thread_and_ends_with_all_rows():
    seen = []
    restored(load(), picture(300, 40), 2, lambda *step: seen.append((*step, threading.current_thread())))
    assert [done for done, *_ in seen] == sorted(done for done, *_ in seen)
    assert seen[-1] == (600, 600, threading.main_thread())


class StopHereError(Exception):
    """Raised by a progress callback."""


@pytest.mark.parametrize("error", [StopHereError, KeyboardInterrupt])
def test_what_progress_raises_ends_the_run(error):
    def stop(done, rows):
        raise error

    with pytest.raises(error):
        restored(load(), picture(3000, 40), progress=stop)


def test_an_interrupt_ends_the_run_at_once():
    """Also where nobody asks for progress. The image would take minutes."""
    plan, image = load("scalar"), np.zeros((60_000, 4000), np.uint8)
    before = library.engine().tl_allocated()

    def interrupt():
        while library.engine().tl_allocated() == before:
            pass
        _thread.interrupt_main()

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        restored(plan, image)
    watcher.join()


def test_an_interrupt_while_the_run_begins_ends_it_too(monkeypatch):
    """Else it goes on behind everybody's back, and reads a plan that is freed when the process ends."""
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine_module._Work, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restored(load("scalar"), np.zeros((60_000, 4000), np.uint8))
    assert not any(isinstance(thread, engine_module._Work) for thread in threading.enumerate())


def test_a_result_that_is_no_number_is_an_error():
    def absurd(weight):
        weight[:] = 3e38
        weight[:8] *= -1

    with pytest.raises(ModelError, match="not a number: its weights overflow"):
        restored(load(change=absurd), picture(5, 5))


def test_memory_is_given_back():
    gc.collect()
    before = library.engine().tl_allocated()
    session = load().open(Request(1000, 0, 0, 0))
    assert library.engine().tl_allocated() == before + load().schedule(Request(1000, 0, 0, 0)).buffer_bytes
    del session
    gc.collect()
    assert library.engine().tl_allocated() == before


WITHOUT_THREADS = """
import os
import resource

import numpy as np

from tests.engine.machine import load, whole
from tests.plans import conv, plan_of, tensors_of

widths = (3, 3), (16, 64)  # strips, a team
plans = [plan_of(("image", conv(width), "input"), input_channels=width[0]) for width in widths]
work = [(load(plan, tensors_of(plan)), np.ones((64, 256, plan.input_channels), np.float32)) for plan in plans]
expected = [whole(plan, image) for plan, image in work]
if os.getuid() == 0:  # whom no limit binds
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
assert all(np.array_equal(whole(*pair, threads=3), one) for pair, one in zip(work, expected, strict=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits threads as Linux does")
def test_where_no_thread_is_to_be_had_one_does_all():
    done = subprocess.run([sys.executable, "-c", WITHOUT_THREADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
