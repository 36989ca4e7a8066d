"""The names that users may rely on."""

import inspect

import pytest

import thinlens


def test_the_surface_is_what_it_says():
    expected = ["Session", "__version__", "errors", "list_models", "open_model", "restore"]
    assert sorted(thinlens.__all__) == expected
    for name in expected:
        assert getattr(thinlens, name) is not None


def test_unknown_attributes_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = thinlens.nothing


def test_restore_takes_what_the_interface_says():
    parameters = inspect.signature(thinlens.restore).parameters
    assert list(parameters) == ["image", "task", "scale", "model", "sigma", "quality", "threads"]
    assert parameters["task"].default == "sr"
    assert all(p.kind is p.KEYWORD_ONLY for name, p in parameters.items() if name != "image")


def test_every_error_is_a_thinlens_error():
    errors = thinlens.errors
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert len(kinds) >= 9
    assert all(issubclass(kind, errors.ThinlensError) for kind in kinds)
    for kind in kinds:
        assert kind.__name__ in errors.__doc__
