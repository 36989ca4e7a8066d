"""Ways to break values made of tables, lists and scalars, such as JSON and TOML hold."""

import copy

SCALARS = (
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 1 << 31, 1 << 40, -(1 << 62), (1 << 63) - 1, 0.5, -0.0, 1e308, "",
    "x", "input", "image", "main", "\x1b[31m", "é" * 300, [], [1, 2], {}, {"a": 1}, [[[]]],
)  # fmt: skip


def mutated(value, rng, scalars=SCALARS):
    """A copy that is broken in one place, or in up to three."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.choice((1, 1, 1, 2, 3)))):
        places = list(iter_places(value))
        if not places:
            break
        holder, key = places[int(rng.integers(len(places)))]
        CHANGES[int(rng.integers(len(CHANGES)))](holder, key, rng, scalars)
    return value


def iter_places(value):
    """Every (holder, key) below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from iter_places(inner)


def replace(holder, key, rng, scalars):
    holder[key] = copy.deepcopy(scalars[int(rng.integers(len(scalars)))])


def nudge(holder, key, rng, scalars):
    value = holder[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        replace(holder, key, rng, scalars)
    else:
        holder[key] = value + int(rng.integers(-2, 3)) if rng.random() < 0.5 else value * int(rng.integers(-3, 1000))


def remove(holder, key, rng, scalars):
    del holder[key]


def duplicate(holder, key, rng, scalars):
    if isinstance(holder, list):
        holder.insert(int(rng.integers(len(holder) + 1)), copy.deepcopy(holder[key]))
    else:
        holder[f"{key}_{int(rng.integers(3))}"] = copy.deepcopy(holder[key])


def exchange(holder, key, rng, scalars):
    keys = list(range(len(holder)) if isinstance(holder, list) else holder)
    other = keys[int(rng.integers(len(keys)))]
    holder[key], holder[other] = holder[other], holder[key]


CHANGES = (replace, replace, nudge, nudge, nudge, remove, duplicate, exchange)
