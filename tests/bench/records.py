"""Records for tests, with figures that nobody measured."""

from thinlens.bench.records import (
    Failure,
    Host,
    MemoryRecord,
    MemoryResult,
    MemorySettings,
    Probe,
    SpeedRecord,
    SpeedResult,
    SpeedSettings,
    Subject,
)

PROBE = Probe(add_ns=2.5, add_spread=1.1, memset_us=40.0, sgemm_gflops=100.0, load=0.5)
COMMON = {
    "date": "2026-11-25T12:00:00+00:00",
    "host": Host(processor="some processor", cpus=2, system="Linux x86_64", python="3.11.7", commit=None),
    "versions": {"thinlens": "0.1.0"},
    "models": (Subject(name="plain_d1_w4", seed=0, sha256="0" * 64, params=10, macs=1000),),
    "failures": (Failure(model="plain_d1_w4", peer="ncnn", error="no"),),
}


def speed_result(peer="ort", ratio=2.0, **fields):
    figures = {"difference": 1e-6, "tolerance": 2e-3, "min_ratio": ratio, "cpu_ratio": ratio, "gflops": 50.0}
    times = {"ms": (1.0,) * 9, "peer_ms": (ratio,) * 9}
    return SpeedResult(
        **{"model": "plain_d1_w4", "peer": peer, "note": "", "ratio": ratio, **figures, **times, **fields}
    )


def speed_record(*results):
    settings = SpeedSettings(width=16, height=9, against=("ort", "ncnn"))
    return SpeedRecord(
        **COMMON, settings=settings, isa="avx2", before=PROBE, after=PROBE, results=results or (speed_result(),)
    )


def memory_record(peak=1000):
    result = MemoryResult(model="plain_d1_w4", way="rows", bound=2000, peak=peak)
    return MemoryRecord(**COMMON, settings=MemorySettings(width=16, height=9), bare=100, results=(result,))
