"""`thinlens networks`: every configuration that can be trained, and what it costs."""

from dataclasses import asdict

from thinlens.cli.options import Json
from thinlens.cli.output import print_json, print_table, to_count_text
from thinlens.cli.verb import needing_extra

COLUMNS = ("name", ">scale", ">parameters", ">MACs", ">activations", ">convolutions", ">binary operations")


def networks(as_json: Json = False) -> None:
    """List the networks that can be trained, with their cost for a 1280x720 output (needs the extra `train`)."""
    records = _records()
    if as_json:
        print_json(records)
    else:
        print_table(COLUMNS, (_row(record) for record in records))


def _records() -> list[dict[str, int | str]]:
    with needing_extra("`thinlens networks`", "train"):
        from thinlens.train.lower import lower
        from thinlens.train.networks import configurations
    from thinlens.model.counts import count_costs

    records: list[dict[str, int | str]] = []
    for name, configuration in configurations().items():
        plan, _ = lower(configuration.create(), configuration.channels)
        costs = asdict(count_costs(plan, configuration.scale))
        records.append({"name": name, "scale": configuration.scale, **costs})
    return records


def _row(record: dict[str, int | str]) -> tuple[object, ...]:
    name, scale, params, *rest = record.values()
    macs, activations, convolutions, binary = (int(value) for value in rest)
    figures = (to_count_text(macs), to_count_text(activations), convolutions, to_count_text(binary))
    return (name, f"x{scale}", params, *figures)
