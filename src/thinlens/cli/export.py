"""`thinlens export`: a model in another format, written from its plan."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from thinlens.cli.options import Json, Model, Overwrite
from thinlens.cli.output import print_json, print_line, to_bytes_text
from thinlens.cli.verb import needing_extra

Target = Literal["onnx", "openvino"]


def export(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", readable=False, help="The file to write.")],
    to: Annotated[Target, typer.Option(help="The format.")] = "onnx",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a model in another format, height and width free.

    `onnx` needs the extra `onnx`. `openvino` writes FILE.xml and FILE.bin and needs the extra `bench`; binary
    convolutions become OpenVINO's own, which want one size: call `reshape` before `compile_model`.
    """
    from thinlens.atomic import write_bytes
    from thinlens.model.file import read_model
    from thinlens.models import find_model

    source = read_model(find_model(model))
    if to == "onnx":
        with needing_extra(f"`thinlens export --to {to}`", "onnx"):
            from thinlens.export.onnx import to_onnx
        data = to_onnx(source)
        write_bytes(output, data, overwrite=overwrite)
        count = len(data)
    else:
        with needing_extra(f"`thinlens export --to {to}`", "bench"):
            from thinlens.export.openvino import write_openvino

            count = write_openvino(source, output, overwrite=overwrite)
    if as_json:
        print_json({"path": str(output), "model": source.card.name, "format": to, "bytes": count})
    else:
        print_line(f"{output}: {source.card.name} as {to}, {to_bytes_text(count)}")
