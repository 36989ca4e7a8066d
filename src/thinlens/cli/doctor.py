"""`thinlens doctor`: versions, backend, extras, processors, and whether the shipped models are sound."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from thinlens.cli.options import Json
from thinlens.cli.output import print_fields, print_json
from thinlens.cli.verb import FAILED, line_of
from thinlens.errors import UnknownNameError

LIBRARIES = ("thinlens", "numpy", "pillow", "safetensors", "msgspec", "typer", "rich")
EXTRAS = {
    "train": ("torch", "lightning-fabric", "pytorch-optimizer"),
    "onnx": ("onnx", "onnxruntime"),
    "report": ("jinja2", "markdown-it-py", "matplotlib"),
    "video": ("av",),
    "bench": ("onnx", "onnxruntime", "openvino", "ncnn", "opencv-python-headless"),
}
MODULES = {"markdown-it-py": "markdown_it", "opencv-python-headless": "cv2"}  # of packages whose name does not tell


def doctor(as_json: Json = False) -> int:
    """Show versions, backend, extras and processors, and check the shipped models."""
    models, damaged = _models()
    findings: dict[str, object] = {
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        **{name: _version(name) for name in LIBRARIES},
        "libvips": _libvips(),
        **_engine(),
        **{f"extra_{name}": _extra(name) for name in EXTRAS},
        "threads": _threads(),
        "cpu_features": _cpu_features(),
        "models": models,
        "damaged_models": damaged,
    }
    if as_json:
        print_json(findings)
    else:
        _print(findings)
    return FAILED if damaged or str(findings["backend"]).startswith("none") else 0


def _print(findings: dict[str, object]) -> None:
    text = {name: ", ".join(value) if isinstance(value, list) else value for name, value in findings.items()}
    text["models"] = f"{len(findings['models'])} shipped"  # type: ignore[arg-type]  # a list of names
    for name in ("damaged_models", "instruction_sets"):
        text[name] = text[name] or "none"
    print_fields((name.replace("_", " "), value) for name, value in text.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"


def _libvips() -> str:
    """Version of libvips, which reads 16-bit colour PNG."""
    try:
        import pyvips
    except (ImportError, OSError) as error:
        return f"missing ({line_of(error)}): pip install pyvips pyvips-binary"
    return ".".join(str(pyvips.version(part)) for part in range(3))


def _engine() -> dict[str, object]:
    """What computes, and which instruction sets the engine has for this processor."""
    from thinlens.runtime import library

    names, missing = library.isa_names(), library.why_missing()
    try:
        wanted = library.wanted_isa()
    except UnknownNameError as error:
        backend = f"none: {line_of(error)}"
    else:
        reason = f"{library.VARIABLE}={wanted}" if wanted == library.REFERENCE else missing
        backend = f"NumPy reference ({reason})" if reason else f"native engine, {wanted or names[0]}"
    path = library.find_library()
    return {
        "backend": backend,
        "engine": missing or f"{path} (interface {library.INTERFACE})",
        "instruction_sets": list(names),
    }


def _extra(name: str) -> str:
    """Versions of what an extra brings, found without importing it."""
    packages = EXTRAS[name]
    try:
        found = all(find_spec(MODULES.get(name, name.replace("-", "_"))) is not None for name in packages)
    except (ImportError, ValueError):  # a package is blocked, not absent
        found = False
    if not found:
        return f"not installed: pip install 'thinlens[{name}]'"
    return ", ".join(f"{package} {_version(package)}" for package in packages)


def _threads() -> int:
    from thinlens.runtime.session import usable_cpus

    return usable_cpus()


def _cpu_features() -> list[str]:
    """Instruction sets that this processor has, of those that matter to the engine, as NumPy sees them."""
    import numpy as np

    found = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return [*found.get("baseline", ()), *found.get("found", ())]


def _models() -> tuple[list[str], list[str]]:
    """Names of the shipped models, and a line for each that does not pass its check."""
    from thinlens.errors import ThinlensError
    from thinlens.model.file import read_model
    from thinlens.models import find_model, model_names

    names, damaged = model_names(), []
    for name in names:
        try:
            read_model(find_model(name))
        except ThinlensError as error:
            damaged.append(line_of(error))
    return names, damaged
