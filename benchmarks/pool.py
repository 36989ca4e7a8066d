"""Measure every member of the edge-SR pool, and the models that ship: counts, speed, memory, quality.

    python benchmarks/pool.py [--what speed memory quality] [--models DIR] [--data DIR] [--published FILE]
                              [--official DIR] [--threads 1 2] [--only TEXT] [--again]

Parameters and multiply-accumulates of all 1,185 configurations are counted in any case and held against the closed
formulas of their families. *speed*: in the engine, 8-bit luma (a network for colour: RGB) to a result of 1920x1080, in
one thread and in two, in turns with `bicubic` of the same scale; untrained networks with random weights, one-layer ones
mirrored as trained ones are, since the engine folds such filters. *memory*: what the engine's plan says. *quality*: of
those that are trained, which are those that ship and those that ``--models`` holds, named by their configuration: PSNR
and SSIM by protocol P1 on Set5, Set14, B100 and val below ``--data``; what a card already says by that protocol is
taken from it. ``--published`` is the published ``tests.json``, ``--official`` a folder of published weights, which are
measured on Set5 by P1 too.

A figure that the record already has is not measured again, unless ``--again`` or on another machine, so that a run may
be cut off at any time. Writes ``docs/results/pool.json`` and ``pool.md``. Needs the extra `train`.
"""

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.atomic import write_bytes
from thinlens.bench.machine import describe_host, list_versions, probe
from thinlens.bench.pairs import create_pairs
from thinlens.bench.quality import list_images, read_hq
from thinlens.bench.speed import choose_isa, time_pairs
from thinlens.bench.subjects import make_picture, random_model
from thinlens.image.colour import from_float32, to_float32
from thinlens.metrics.protocol import Protocol
from thinlens.model.card import ModelCard
from thinlens.model.counts import OUTPUT, count_costs
from thinlens.model.file import Model, read_model
from thinlens.models import FOLDER, find_model, model_names
from thinlens.runtime.compile import ImageKind, compile_plan
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.library import Request
from thinlens.runtime.session import Session
from thinlens.train.importer import import_weights, official_name
from thinlens.train.lower import lower
from thinlens.train.networks import Configuration, configurations, find_configuration
from thinlens.train.networks.bicubic import Bicubic
from thinlens.train.networks.edge_sr import GROUPS, EdgeSR, EdgeSRCNNConfig
from thinlens.train.networks.espcn import EspcnConfig
from thinlens.train.networks.fsrcnn import FsrcnnConfig
from thinlens.train.shared_phase import assemble, create_filters, orbits

RESULTS = Path(__file__).parents[1] / "docs" / "results"
WIDTH, HEIGHT = 1920, 1080
THREADS, PAIRS = (1, 2), 9
SETS = ("Set5", "Set14", "B100", "val")
PARTS = ("speed", "memory", "quality")
FAMILIES = ("bicubic", "edge_sr_max", "edge_sr_tm", "edge_sr_tr", "edge_sr_cnn", "espcn", "fsrcnn")
PUBLISHED = ("speed_AGX", "speed_MaxQ", "speed_RPI", "power_AGX")
RAPL = Path("/sys/class/powercap/intel-rapl:0")
KEEP_EVERY = 60.0  # seconds between two writes of the record
PROTOCOL = {
    "quality": "protocol P1: luma (0.299, 0.587, 0.114) of the 8-bit image, antialiased bicubic down, 8 bits in and "
    "out, measured in studio range, border of `scale` pixels cut; means over images. Models that ship for other tasks: "
    "as their cards say.",
    "speed": f"native engine, 8 bits in and out, memory to memory, to a result of {WIDTH}x{HEIGHT}; in turns with "
    f"`bicubic` of the same scale in one process, {PAIRS} pairs after 2 that do not count; ms: median, "
    "in one thread of its processor time, which does not count what else runs; "
    "against_bicubic: median over the pairs of the network's time over bicubic's. "
    "Untrained networks have random weights; one-layer ones mirrored phases, as trained ones have.",
    "peak_bytes": "the engine's own memory, row by row at that width, as its plan says before any pixel moves: weights "
    "as packed for the instruction set, and all buffers; program and image come on top.",
    "bytes": "of the tensors, as the model file stores them.",
    "energy_mj": "of the processor's package for one image, one thread (RAPL); null: the machine does not tell.",
    "published": "facts of the published tests.json, whose own protocol gives 0.03 to 0.19 dB more than P1. "
    "p1_set5_db: the published weights, where they were at hand, by P1; p1_set5_estimated_db: the published figure "
    "less the mean difference of those of its scale.",
}
Member = dict[str, Any]
ByteImage = npt.NDArray[np.uint8]


def pool() -> dict[str, Configuration]:
    """The 1,185 configurations of the published pool, by name."""
    kinds = Bicubic | EdgeSR | EdgeSRCNNConfig | EspcnConfig | FsrcnnConfig
    return {name: c for name, c in configurations().items() if isinstance(c, kinds)}


def family_of(name: str, configuration: Configuration) -> str:
    """One of `FAMILIES`, or the module of the network."""
    found = next((family for family in FAMILIES if name.startswith(f"{family}_")), None)
    return found or type(configuration).__module__.rsplit(".", 1)[-1]


def formulas(configuration: Configuration) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for each pixel of the input, as they follow from the published structure."""
    match configuration:
        case Bicubic(scale=s):
            return 25 * s * s, 25 * s * s
        case EdgeSR(kind=kind, kernel_size=k, candidates=c, scale=s):
            return (taps := GROUPS[kind] * s * s * c * k * k), taps
        case EdgeSRCNNConfig(candidates=c, width=d, shrink=w, scale=s):
            macs = 25 * d + 9 * d * w + 18 * s * s * c * w
            return macs + d + w, macs
        case EspcnConfig(width=0, shrink=w, scale=s):
            macs = 9 * w + 9 * w * s * s
            return macs + w + s * s, macs
        case EspcnConfig(width=d, shrink=w, scale=s):
            macs = 25 * d + 9 * d * w + 9 * w * s * s
            return macs + d + w + s * s, macs
        case FsrcnnConfig(width=d, shrink=w, depth=m):
            macs = 25 * d + 2 * d * w + 9 * m * w * w + 81 * d
            return macs + d + w + m * w + d + 1 + m + 3, macs
    raise ValueError(f"{configuration.name} is not of the pool")


def count(name: str) -> Member:
    """A member with its counts and nothing else; they must be those of the formulas."""
    configuration = find_configuration(name)
    costs = count_costs(lower(configuration.create(), configuration.channels)[0], configuration.scale)
    if name in pool():
        params, macs = formulas(configuration)
        expected = params, round(macs * OUTPUT[0] * OUTPUT[1] / configuration.scale**2)
        if (costs.params, costs.macs_720p) != expected:
            raise SystemExit(f"{name}: {costs.params} parameters, {costs.macs_720p} MACs; the formulas say {expected}")
    return {
        "name": name,
        "family": family_of(name, configuration),
        "task": getattr(configuration, "task", "sr"),
        "scale": configuration.scale,
        "params": costs.params,
        "bytes": None,
        "macs_720p": costs.macs_720p,
        "training": None,
        "quality": {},
        "speed": {},
        "peak_bytes": None,
        "energy_mj": None,
        "published": None,
    }


def find_file(name: str, folder: Path | None) -> Path | None:
    """The file of a trained member: the one that ships, or that of the folder; None: it is not trained."""
    if name in model_names():
        return find_model(name)
    found = [] if folder is None else [folder / f"{name}.safetensors", folder / name / "model.safetensors"]
    return next((path for path in found if path.is_file()), None)


def open_member(name: str, path: Path | None) -> Model:
    """A member with its own weights, or with random ones."""
    if path is not None:
        return read_model(path)
    configuration = find_configuration(name)
    plan, tensors = lower(configuration.create(), configuration.channels)
    if isinstance(configuration, Bicubic):
        return Model({"main": plan}, tensors, random_model(name, plan, 0).card)
    model = random_model(name, plan, 0)
    if isinstance(configuration, EdgeSR):
        kind, c, k = configuration.kind, configuration.candidates, configuration.kernel_size
        filters = {
            phase: create_filters(kind, 1, c, k, [0, *phase])[0].numpy().reshape(-1, c, k, k)
            for phase in orbits(configuration.scale)
        }
        ((tensor, _),) = model.tensors.items()
        return Model(model.plans, {tensor: assemble(filters, configuration.scale)}, model.card)
    return model


def load(model: Model, isa: str) -> tuple[NativePlan, ByteImage]:
    """A model in the engine, and the picture that gives 1920x1080."""
    scale, channels = model.card.scale, model.plan.input_channels
    plan = NativePlan(compile_plan(model.plan, model.tensors, ImageKind(channels, "uint8"), scale).data, isa)
    return plan, picture(-(-HEIGHT // scale), -(-WIDTH // scale), channels)


@lru_cache
def picture(height: int, width: int, channels: int) -> ByteImage:
    """As `make_picture`."""
    return make_picture(height, width, channels)


def call_of(plan: NativePlan, image: ByteImage, scale: int, threads: int) -> Callable[[], None]:
    """Restore an image, again and again into the same memory."""
    out = np.empty((image.shape[0] * scale, image.shape[1] * scale, *image.shape[2:]), np.uint8)
    return lambda: plan.call(image, out, threads)


def measure_speed(model: Model, isa: str, counts: Sequence[int]) -> dict[str, dict[str, float | None]]:
    """Milliseconds, images a second, and time over that of bicubic, by threads.

    In one thread processor time is taken, which is the same where nothing else runs and does not count what does.
    """
    plan, image = load(model, isa)
    upscales = model.card.scale > 1
    found: dict[str, dict[str, float | None]] = {}
    for threads in counts:
        ours = call_of(plan, image, model.card.scale, threads)
        peer = call_of(*load(bicubic(model.card.scale), isa), model.card.scale, threads) if upscales else lambda: None
        times = time_pairs(ours, peer, PAIRS)
        ms = statistics.median(times.ours_cpu if threads == 1 else times.ours) * 1e3
        ratio = round(1 / (times.cpu_ratio if threads == 1 else times.ratio), 4) if upscales else None
        found[str(threads)] = {"ms": round(ms, 4), "fps": round(1e3 / ms, 3), "against_bicubic": ratio}
    return found


@lru_cache
def bicubic(scale: int) -> Model:
    """The member that all others are measured beside."""
    return open_member(f"bicubic_x{scale}", None)


def measure_energy(model: Model, isa: str) -> float | None:
    """Millijoules of the processor's package for one image, over half a second; None where it does not tell."""
    plan, image = load(model, isa)
    call, images, begun = call_of(plan, image, model.card.scale, 1), 0, time.perf_counter()
    try:
        before = int((RAPL / "energy_uj").read_text())
        while time.perf_counter() - begun < 0.5:
            call()
            images += 1
        spent = int((RAPL / "energy_uj").read_text()) - before
        spent += int((RAPL / "max_energy_range_uj").read_text()) if spent < 0 else 0  # the counter began anew
    except OSError:
        return None
    return round(spent / images / 1e3, 4)


def plan_memory(model: Model, isa: str) -> int:
    """Bytes of weights and of all buffers, row by row."""
    plan, image = load(model, isa)
    return int(plan.weight_bytes + plan.schedule(Request(image.shape[1], image.shape[0], 0, 0)).buffer_bytes)


def stored_bytes(path: Path) -> int:
    """Bytes of the tensors in a model file: what follows its header."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return path.stat().st_size - 8 - header


@lru_cache
def pairs_of(
    data: Path, name: str, scale: int
) -> tuple[Protocol, list[tuple[ByteImage, npt.NDArray[np.float32], bool]]]:
    """A set's images: clean, degraded, and whether the file was gray; and how they are compared."""
    pairs = create_pairs(scale=scale, colour=False)
    found = []
    for path in list_images(data / name):
        clean = read_hq(path)
        hq, lq = pairs.make(clean)
        found.append((hq, to_float32(lq), clean.ndim == 2))
    return pairs.protocol, found


def measure_quality(model: Model, data: Path, name: str) -> dict[str, float]:
    """PSNR and SSIM by P1 on a set: from the card if it says so, else measured."""
    protocol, pairs = pairs_of(data, name, model.card.scale)
    for known in model.card.quality:
        if (known.data, known.count, known.protocol) == (name, len(pairs), protocol.describe()):
            return {"psnr_db": known.psnr_y_db, "ssim": known.ssim_y}
    session, psnr, ssim = Session(model), [], []
    for hq, lq, gray in pairs:
        restored = from_float32(session.run(lq), np.uint8)
        psnr.append(protocol.psnr_db(restored, hq, gray_file=gray))
        ssim.append(protocol.ssim(restored, hq, gray_file=gray))
    return {"psnr_db": round(statistics.fmean(psnr), 4), "ssim": round(statistics.fmean(ssim), 5)}


def quality_of_card(card: ModelCard) -> dict[str, dict[str, float]]:
    """What a card says of a model for another task: PSNR over RGB where that was measured."""
    return {
        m.data: {"psnr_db": m.psnr_y_db if m.psnr_rgb_db is None else m.psnr_rgb_db, "ssim": m.ssim_y}
        for m in card.quality
    }


def training_of(card: ModelCard, path: Path) -> dict[str, Any]:
    """How a member was trained."""
    told = card.training
    source = "shipped" if path.parent == FOLDER else "pool"
    return {
        "schedule": told.schedule,
        "steps": told.steps,
        "seed": told.seed,
        "minutes": told.minutes,
        "source": source,
    }


def published_of(configuration: Configuration, tests: dict[str, dict[str, float]]) -> dict[str, Any]:
    """A member's published facts."""
    facts = tests[official_name(configuration)]
    sets = {
        name: {"psnr_db": facts[f"psnr_{name}"], "ssim": facts[f"ssim_{name}"]} for name in ("Set5", "Set14", "BSDS100")
    }
    return {**sets, **{name: facts[name] for name in PUBLISHED}}


def add_published(members: dict[str, Member], file: Path, official: Path | None, data: Path | None) -> None:
    """Put the published facts beside ours, and the published weights' Set5 by P1: measured, or estimated."""
    tests, differences = json.loads(file.read_text()), dict[int, list[float]]()
    for name, configuration in pool().items():
        if name not in members:
            continue
        facts = members[name]["published"] = published_of(configuration, tests)
        path = None if official is None else official / f"{official_name(configuration)}.model"
        if path is not None and path.is_file() and data is not None and not isinstance(configuration, Bicubic):
            measured = measure_quality(import_weights(path, name=name).model, data, "Set5")["psnr_db"]
            facts["p1_set5_db"] = measured
            differences.setdefault(configuration.scale, []).append(facts["Set5"]["psnr_db"] - measured)
    for name in pool().keys() & members.keys():
        facts, offsets = members[name]["published"], differences.get(members[name]["scale"])
        if "p1_set5_db" not in facts and offsets and members[name]["family"] != "bicubic":
            facts["p1_set5_estimated_db"] = round(facts["Set5"]["psnr_db"] - statistics.fmean(offsets), 4)


def measure(member: Member, what: list[str], arguments: argparse.Namespace, isa: str) -> None:
    """Add the figures that a member lacks."""
    name, again = member["name"], arguments.again
    path = find_file(name, arguments.models)
    if path is not None and "quality" in what:
        card = read_model(path).card
        if member["training"] != training_of(card, path):  # other weights than those that were measured
            member["quality"] = {}
        member |= {"bytes": stored_bytes(path), "training": training_of(card, path)}
        if card.task != "sr":
            member["quality"] = quality_of_card(card)
    counts = [n for n in arguments.threads if "speed" in what and (again or str(n) not in member["speed"])]
    memory = "memory" in what and (again or member["peak_bytes"] is None)
    rated = (path is not None or member["family"] == "bicubic") and member["task"] == "sr"
    wanted = SETS if rated and "quality" in what and arguments.data is not None else ()
    sets = [data for data in wanted if again or data not in member["quality"]]
    if not (counts or memory or sets):
        return
    model = open_member(name, path)
    if counts:
        member["speed"] = dict(sorted({**member["speed"], **measure_speed(model, isa, counts)}.items()))
        member["energy_mj"] = measure_energy(model, isa)
    if memory:
        member["peak_bytes"] = plan_memory(model, isa)
    for data in sets:
        member["quality"][data] = measure_quality(model, arguments.data, data)


def read_members(host: dict[str, Any]) -> dict[str, Member]:
    """What the record has, without the times of another machine."""
    path = RESULTS / "pool.json"
    if not path.is_file():
        return {}
    record = json.loads(path.read_text())
    if any(record["host"].get(key) != host[key] for key in ("processor", "cpus", "system", "isa")):
        for member in record["members"]:
            member |= {"speed": {}, "peak_bytes": None, "energy_mj": None}
    return {member["name"]: member for member in record["members"]}


def to_json(host: dict[str, Any], members: list[Member]) -> bytes:
    """The record, a member a line."""
    lines = ",\n".join(json.dumps(member) for member in members)
    head = f'{{"host": {json.dumps(host)},\n"protocol": {json.dumps(PROTOCOL)},\n"members": [\n'
    return f"{head}{lines}\n]}}\n".encode()


def to_page(host: dict[str, Any], members: list[Member]) -> str:
    """The record as a Markdown page."""
    return "".join(f"{line}\n" for line in iter_lines(host, members))


HEAD = """# The pool, measured

`python benchmarks/pool.py` measures the 1,185 configurations of the published edge-SR pool, and the models that ship
for other tasks, and writes this page and [pool.json](pool.json), which holds every member. Instruction set {isa},
{processor}, {cpus} processors.

{protocol}
"""


def iter_lines(host: dict[str, Any], members: list[Member]) -> Iterator[str]:
    """Lines of the page."""
    told = "\n".join(f"- *{name}*: {text}" for name, text in PROTOCOL.items())
    yield HEAD.format(protocol=told, **host)
    for threads in THREADS:
        if missing := sum(str(threads) not in member["speed"] for member in members):
            yield f"Threads {threads}: {missing} of {len(members)} members are not timed yet."
            yield ""
    for scale in (2, 3, 4):
        of_scale = [member for member in members if member["scale"] == scale and member["task"] == "sr"]
        yield f"## x{scale}"
        yield ""
        yield from family_lines(of_scale)
        yield from front_lines(of_scale)


def family_lines(members: list[Member]) -> Iterator[str]:
    """A line a family: how many there are and are trained, what they cost, the best of them."""
    yield "| family | members | trained | parameters | ms, one thread | x bicubic | best on val, dB | over published |"
    yield "|---|--:|--:|--:|--:|--:|---|--:|"
    for family in dict.fromkeys(member["family"] for member in members):
        own = [member for member in members if member["family"] == family]
        trained = [member for member in own if member["quality"]]
        timed = [member["speed"]["1"] for member in own if "1" in member["speed"]]
        rated = [member for member in trained if "val" in member["quality"]]
        best = max(rated, key=lambda member: float(member["quality"]["val"]["psnr_db"]), default=None)
        gains = [gain for member in trained if (gain := gain_db(member)) is not None]
        cells = [
            family,
            str(len(own)),
            str(len(trained)),
            span([member["params"] for member in own], "{:d}"),
            span([speed["ms"] for speed in timed], "{:.2f}"),
            span([speed["against_bicubic"] for speed in timed], "{:.2f}"),
            "" if best is None else f"{best['quality']['val']['psnr_db']:.3f} `{best['name']}`",
            "" if not gains else f"{statistics.fmean(gains):+.3f} ({span(gains, '{:+.3f}')})",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def gain_db(member: Member) -> float | None:
    """Set5 by P1 over the published weights by P1, measured or estimated, dB."""
    facts = member["published"] or {}
    other = facts.get("p1_set5_db", facts.get("p1_set5_estimated_db"))
    ours = member["quality"].get("Set5")
    return None if other is None or ours is None else ours["psnr_db"] - other


def front_lines(members: list[Member]) -> Iterator[str]:
    """The trained members than which none is both quicker and better on val."""
    rated = [member for member in members if "val" in member["quality"] and "1" in member["speed"]]
    front, best = [], -np.inf
    for member in sorted(rated, key=lambda m: (m["speed"]["1"]["ms"], -m["quality"]["val"]["psnr_db"])):
        if member["quality"]["val"]["psnr_db"] > best:
            front.append(member)
            best = member["quality"]["val"]["psnr_db"]
    if not front:
        return
    yield f"The front of the {len(rated)} that are trained and timed, one thread:"
    yield ""
    yield "| member | ms | images a second | x bicubic | engine memory, kB | val, dB | Set5, dB | over published, dB |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for member in front:
        speed, gain = member["speed"]["1"], gain_db(member)
        cells = [
            f"`{member['name']}`",
            f"{speed['ms']:.2f}",
            f"{speed['fps']:.1f}",
            f"{speed['against_bicubic']:.2f}",
            "" if member["peak_bytes"] is None else f"{member['peak_bytes'] / 1e3:.0f}",
            f"{member['quality']['val']['psnr_db']:.3f}",
            f"{member['quality']['Set5']['psnr_db']:.3f}" if "Set5" in member["quality"] else "",
            "" if gain is None else f"{gain:+.3f}",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def span(values: list[Any], form: str) -> str:
    """Lowest to highest."""
    if not values:
        return ""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def main() -> None:
    """Measure what is missing, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--models", type=Path, help="folder of trained members, as NAME.safetensors or NAME/model.safetensors"
    )
    parser.add_argument("--threads", nargs="*", type=int, choices=THREADS, default=list(THREADS))
    parser.add_argument("--data", type=Path, help="folder that holds Set5, Set14, B100 and val")
    parser.add_argument("--published", type=Path, help="the published tests.json")
    parser.add_argument("--official", type=Path, help="folder of published weights")
    parser.add_argument("--only", default="", help="members whose name matches this pattern")
    parser.add_argument("--again", action="store_true", help="also what the record has")
    arguments = parser.parse_args()
    isa = choose_isa(None)
    host = {**msgspec.to_builtins(describe_host()), "isa": isa, "versions": list_versions(["torch"])}
    members = read_members(host)
    names = [*pool(), *(name for name in model_names() if name not in pool())]
    chosen = [name for name in names if re.search(arguments.only, name)]
    host["before"], written, begun = msgspec.to_builtins(probe()), time.monotonic(), time.monotonic()

    def write() -> None:
        host["after"] = msgspec.to_builtins(probe())
        ordered = [members[name] for name in names if name in members]
        write_bytes(RESULTS / "pool.json", to_json(host, ordered), overwrite=True)
        write_bytes(RESULTS / "pool.md", to_page(host, ordered).encode(), overwrite=True)

    try:
        for done, name in enumerate(chosen):
            if name not in members:
                members[name] = count(name)
            measure(members[name], arguments.what, arguments, isa)
            if time.monotonic() - written > KEEP_EVERY:
                write()
                written = time.monotonic()
                print(f"{done + 1} of {len(chosen)}, {name}, {written - begun:.0f} s", flush=True)
        if arguments.published is not None:
            add_published(members, arguments.published, arguments.official, arguments.data)
    finally:
        write()
    print(f"{len(chosen)} members in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
