"""`thinlens bench`: speed and memory beside peers, as records that can be measured again."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from thinlens.cli.options import Json, Overwrite, parse_size
from thinlens.cli.output import print_fields, print_json, print_line, print_table, to_bytes_text, to_count_text
from thinlens.cli.progress import Meter
from thinlens.cli.verb import FAILED, UsageError, needing_extra, print_error

if TYPE_CHECKING:
    from thinlens.bench.records import MemoryRecord, Probe, Record, SpeedRecord
    from thinlens.bench.replay import Change
    from thinlens.bench.subjects import Opened

Models = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODEL...", help="Names of shipped models, or paths ending in .safetensors."),
]
Random = Annotated[
    list[str] | None,
    typer.Option(
        "--random",
        metavar="NAME",
        help="A network with random weights, as `thinlens networks` names it (needs the extra `train`), or a stack "
        "such as plain_d8_w48, plain_d8_w48_int8 or dncnn_d17_w64; may be repeated.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of the random weights.")]
Size = Annotated[str, typer.Option(metavar="WxH", help="Of the image that goes in, in pixels.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="RECORD.json", readable=False, help="The record.")
]
SPEED_COLUMNS = (
    *("model", "peer", ">ms", ">peer ms", ">ratio", ">min/min", ">CPU time"),
    *(">pairs won", "engine is", ">of peak", ">difference"),
)


def speed(
    size: Size,
    against: Annotated[str, typer.Option(metavar="PEER,...", help="Of ort, openvino, ncnn, opencv, pillow.")],
    models: Models = None,
    random: Random = None,
    seed: Seed = 0,
    threads: Annotated[
        int, typer.Option("-j", "--threads", min=1, max=1024, metavar="N", help="Of the engine and of each peer.")
    ] = 1,
    pairs: Annotated[int, typer.Option(min=9, max=10_000, metavar="N", help="Runs of each, in turns; at least 9.")] = 9,
    isa: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Instruction set, as `thinlens doctor` lists them; default: the best."),
    ] = None,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Measure how fast models run in the engine and in other runtimes.

    Engine and peer take turns; a ratio above 1 says that the engine is faster, as the median over the pairs. A peer
    whose result is not the engine's is not timed.
    """
    from thinlens.bench.records import SpeedSettings
    from thinlens.bench.speed import measure_speed

    height, width = _size(size)
    peers = _peers(against)
    if not peers:
        raise UsageError("`--against`: no peer; accepted: names such as `ort,opencv`")
    _check_output(output, overwrite=overwrite)
    _need(peers)
    settings = SpeedSettings(width=width, height=height, against=peers, threads=threads, pairs=pairs, isa=isa)
    opened = _open(models, random, seed)
    with Meter() as meter:
        record = measure_speed(opened, settings, meter.show)
    return _finish(record, output, overwrite=overwrite, as_json=as_json)


def memory(
    size: Size,
    against: Annotated[str, typer.Option(metavar="PEER,...", help="Of ort, ort_bands, openvino; default: none.")] = "",
    models: Models = None,
    random: Random = None,
    seed: Seed = 0,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Measure the peak memory of models in fresh processes, over that of a bare interpreter with NumPy (Linux only).

    The engine takes the image row by row where the model allows it; what it will take at most is printed in advance.
    """
    from thinlens.bench.memory import measure_memory
    from thinlens.bench.records import MemorySettings

    height, width = _size(size)
    peers = _peers(against)
    _check_output(output, overwrite=overwrite)
    _need(peers)
    settings = MemorySettings(width=width, height=height, against=peers)
    opened = _open(models, random, seed)

    def announce(name: str, way: str, bound: int) -> None:
        if not as_json:
            print_line(f"{name}: {way}, at most {to_bytes_text(bound)} over a bare interpreter")

    with Meter() as meter:
        record = measure_memory(opened, settings, announce, meter.show)
    return _finish(record, output, overwrite=overwrite, as_json=as_json)


def replay(
    record: Annotated[Path, typer.Argument(metavar="RECORD", readable=False, help="A file that `-o` wrote.")],
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="0..1", help="How far a figure may fall before that counts as failed."),
    ] = 0.8,
    output: Output = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Measure again what a record says, on this machine, and set then and now side by side.

    Ends with 1 if a figure is below the tolerance times what it was: for speed the ratio to the peer, for memory the
    inverse of the peak.
    """
    from thinlens.bench.records import read_record
    from thinlens.bench.replay import compare, measure_again

    then = read_record(record)
    _check_output(output, overwrite=overwrite)
    _need(then.settings.against)
    with needing_extra("a network of the record", "train"), Meter() as meter:
        now = measure_again(then, meter.show)
    _write(now, output, overwrite=overwrite)
    changes, same_host = compare(then, now), _machine(then) == _machine(now)
    lost = [change for change in changes if change.ratio < tolerance]
    if as_json:
        rows = [asdict(change) for change in changes]
        print_json({"same_host": same_host, "tolerance": tolerance, "passed": not lost, "changes": rows})
    else:
        _print_changes(then, now, changes)
    for change in lost:
        print_error(_loss(change, now, tolerance))
    return FAILED if lost else 0


def _size(text: str) -> tuple[int, int]:
    """Height and width."""
    from thinlens.bench.records import MAX_SIDE

    height, width = parse_size(text)
    if max(height, width) > MAX_SIDE:
        raise UsageError(f"`--size`: got '{text}'; accepted: up to {MAX_SIDE} pixels a side")
    return height, width


def _peers(text: str) -> tuple[str, ...]:
    """The names between commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _need(peers: Sequence[str]) -> None:
    """Check before any work that there are such peers, and that what they need is installed."""
    from thinlens.bench.memory import runtime_of

    for name in peers:
        peer = runtime_of(name)
        with needing_extra(f"`--against {name}`", peer.extra):
            peer.load()


def _check_output(output: Path | None, *, overwrite: bool) -> None:
    """Check before minutes of work that its record can be written."""
    from thinlens.atomic import check_target

    if output is not None:
        check_target(output, overwrite=overwrite)


def _open(models: list[str] | None, random: list[str] | None, seed: int) -> "list[Opened]":
    """All models that were asked for."""
    from thinlens.bench.subjects import open_subject

    if not models and not random:
        raise UsageError("no model; give names of shipped models, model files, or `--random NAME`")
    names = [*(models or ()), *(random or ())]
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise UsageError(f"`{repeated[0]}` is given more than once; a record has each name once")
    opened = [open_subject(name) for name in models or ()]
    for name in random or ():
        with needing_extra(f"`--random {name}`", "train"):
            opened.append(open_subject(name, seed))
    return opened


def _finish(record: "SpeedRecord | MemoryRecord", output: Path | None, *, overwrite: bool, as_json: bool) -> int:
    """Write and print a record; tell what could not be measured."""
    import msgspec

    from thinlens.bench.records import SpeedRecord

    _write(record, output, overwrite=overwrite)
    if as_json:
        print_json(msgspec.to_builtins(record))
    elif isinstance(record, SpeedRecord):
        _print_speed(record)
    else:
        _print_memory(record)
    for failure in record.failures:
        print_error(failure.error)
    return FAILED if record.failures else 0


def _write(record: "Record", output: Path | None, *, overwrite: bool) -> None:
    from thinlens.bench.records import write_record

    if output is not None:
        write_record(output, record, overwrite=overwrite)


def _print_speed(record: "SpeedRecord") -> None:
    rows = [
        (
            result.model,
            result.peer,
            f"{median(result.ms):.2f}",
            f"{median(result.peer_ms):.2f}",
            f"{result.ratio:.2f}",
            f"{result.min_ratio:.2f}",
            f"{result.cpu_ratio:.2f}",
            f"{result.won:.0%}",
            result.verdict,
            f"{record.share(result):.0%}",
            f"{result.difference:.1e} of {result.tolerance:.1e}",
        )
        for result in record.results
    ]
    print_table(SPEED_COLUMNS, rows)
    settings = record.settings
    models = ", ".join(f"{model.name} {to_count_text(model.macs)} MACs" for model in record.models)
    notes = "; ".join(dict.fromkeys(f"{result.peer}: {result.note}" for result in record.results))
    print_fields(
        [
            ("image", f"{settings.width}x{settings.height}"),
            ("models", models),
            ("threads", settings.threads),
            ("instruction set", record.isa),
            ("pairs", settings.pairs),
            ("peers", notes or None),
            ("before", _probe_text(record.before)),
            ("after", _probe_text(record.after)),
            *_origin(record),
        ]
    )


def _print_memory(record: "MemoryRecord") -> None:
    rows = [
        (result.model, result.way, result.bound and to_bytes_text(result.bound), to_bytes_text(result.peak))
        for result in record.results
    ]
    print_table(("model", "way", ">at most", ">peak over bare"), rows)
    settings = record.settings
    print_fields(
        [("image", f"{settings.width}x{settings.height}"), ("bare", to_bytes_text(record.bare)), *_origin(record)]
    )


def _origin(record: "Record") -> list[tuple[str, object]]:
    """Where a record comes from."""
    host = record.host
    return [
        ("host", f"{host.processor}, {host.cpus} processors, {host.system}, Python {host.python}"),
        ("versions", _versions(record)),
        ("commit", host.commit),
    ]


def _versions(record: "Record") -> str:
    return ", ".join(f"{name} {version}" for name, version in record.versions.items())


def _probe_text(probe: "Probe") -> str:
    from thinlens.bench.machine import NOISY

    busy = "; BUSY: repeat on a quiet machine" if probe.add_spread > NOISY else ""
    clock = f"{probe.add_ns:.2f} ns a dependent addition (90th over 10th percentile {probe.add_spread:.2f})"
    arithmetic = f"{probe.sgemm_gflops:.0f} GFLOP/s by NumPy's sgemm, one thread"
    return f"{clock}, {probe.memset_us:.0f} us to fill 2 MB, {arithmetic}, load {probe.load}{busy}"


def _print_changes(then: "Record", now: "Record", changes: "list[Change]") -> None:
    from thinlens.bench.records import SpeedRecord

    shown: Callable[[float], str] = "{:.2f}".format if isinstance(then, SpeedRecord) else to_bytes_text
    rows = [
        (change.model, change.against, shown(change.then), change.now and shown(change.now), f"{change.ratio:.2f}")
        for change in changes
    ]
    print_table(("model", "against", ">then", ">now", ">change"), rows)
    print_line("same kind of host" if _machine(then) == _machine(now) else "the hosts differ")
    print_fields(
        (when, f"{_machine(record)}, {record.date}, {_versions(record)}")
        for when, record in (("then", then), ("now", now))
    )


def _machine(record: "Record") -> str:
    """What must be equal for figures to be alike."""
    return f"{record.host.processor}, {record.host.cpus} processors, {record.host.system}"


def _loss(change: "Change", now: "Record", tolerance: float) -> str:
    where = f"`{change.model}` against `{change.against}`"
    if change.now is None:
        reasons = [f.error for f in now.failures if (f.model, f.peer) == (change.model, change.against)]
        return f"{where}: not measured: {'; '.join(reasons) or 'another way was taken'}"
    return f"{where}: {change.ratio:.2f} of what it was; `--tolerance` accepts {tolerance:g}"
