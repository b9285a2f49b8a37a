"""The dataclasses in losses.py are the losses of the C++ library."""

from __future__ import annotations

import dataclasses

import pytest

import partial_fc
from partial_fc import _native
from partial_fc.losses import Loss

CLASSES = {loss.name: loss for loss in Loss.__subclasses__()}


def as_text(described: _native.LossDescription) -> str:
    fields = "".join(
        f"    {field['name']}: {type(field['default']).__name__} = {field['default']!r}\n"
        for field in described["fields"]
    )
    return f"@dataclasses.dataclass(frozen=True)\nclass …(Loss):\n    name: ClassVar[str] = {described['name']!r}\n{fields}"


@pytest.mark.parametrize("described", _native.losses(), ids=lambda described: described["name"])
def test_every_loss_is_here_with_its_settings(described: _native.LossDescription) -> None:
    missing = f"losses.py, and the names in __init__.py, should have\n{as_text(described)}"
    assert described["name"] in CLASSES, missing
    found = [(field.name, field.default) for field in dataclasses.fields(CLASSES[described["name"]])]
    assert found == [(field["name"], field["default"]) for field in described["fields"]], missing
    assert CLASSES[described["name"]].__name__ in partial_fc.__all__


def test_no_loss_is_here_alone() -> None:
    assert set(CLASSES) == {described["name"] for described in _native.losses()}


@pytest.mark.parametrize(
    "loss, sentence",
    [
        (partial_fc.CosFace(-1), "m is -1, want a number from 0 to 3.14"),
        (partial_fc.CosFace("big"), "m is 'big', want a number"),  # type: ignore[arg-type]
        (partial_fc.ArcFace(gradient="rough"), "gradient is 'rough', want"),
        (partial_fc.SubCenterArcFace(sub_centers=0), "sub_centers is 0, want"),
        (partial_fc.MagFace(l_a=200), "magface_l_a is not below"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(loss: Loss, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        partial_fc.PartialFC(8, 10, margin=loss)
