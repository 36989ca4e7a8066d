"""Fuzz at length.

    python -m tests.fuzz --images 2000 --models 2000 --recipes 500 --foreign 500
    python -m tests.fuzz --replay images:17

Prints every case that ends badly and a summary; ends with 1 if there was any.
"""

import argparse
import importlib
import sys
from collections import Counter
from pathlib import Path

from tests.fuzz.runner import run
from tests.fuzz.worker import case_of

TARGETS = ("images", "models", "recipes", "foreign")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    for target in TARGETS:
        parser.add_argument(f"--{target}", type=int, default=0, metavar="N", help=f"cases of {target}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", metavar="TARGET:NUMBER", help="one case again; its input is written to ./replay")
    options = parser.parse_args()
    if options.replay:
        return replay(*options.replay.split(":"), seed=options.seed)
    return int(sum([fuzz(target, getattr(options, target), options.seed) for target in TARGETS]) > 0)


def fuzz(target: str, count: int, seed: int) -> int:
    """Run cases 0 to ``count`` - 1; returns how many ended badly."""
    if not count:
        return 0
    verdicts = []
    for verdict in run(target, range(count), seed):
        verdicts.append(verdict)
        if not verdict.good:
            say(f"{target}:{verdict.number} {verdict.outcome} ({verdict.seconds:.1f} s): {verdict.detail}")
    outcomes = ", ".join(f"{n} {outcome}" for outcome, n in Counter(v.outcome for v in verdicts).most_common())
    slowest, largest = max(v.seconds for v in verdicts), max(v.bytes for v in verdicts) >> 20
    say(f"{target}: {count} cases of seed {seed}: {outcomes}; slowest {slowest:.2f} s, growth {largest} MiB")
    return sum(not verdict.good for verdict in verdicts)


def replay(target: str, number: str, *, seed: int) -> int:
    """Run one case again and keep its input."""
    module = importlib.import_module(f"tests.fuzz.{target}")  # noqa: TID251
    Path("replay").write_bytes(case_of(module, seed, int(number))[1])
    (verdict,) = run(target, [int(number)], seed)
    say(f"{verdict.outcome} ({verdict.seconds:.2f} s, growth {verdict.bytes >> 20} MiB): {verdict.detail}")
    return int(not verdict.good)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
