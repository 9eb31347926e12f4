"""The sizing table of docs/scale.md is what the estimates of `doctor` give."""

from __future__ import annotations

from flows.doctor.estimate import parameters
from tests.docs.sizing_table import PAGE, SHAPES, sizing_page


def test_the_page_has_the_table_of_the_estimates():
    text = PAGE.read_text(encoding="utf-8")
    assert text == sizing_page(text), "write it with `python -m tests.docs.sizing_table`"


def test_the_shapes_are_those_of_the_published_models():
    """In billions of parameters, as the hub shows them."""
    found = {name: round(parameters(shape) / 1e9, 1) for name, shape in SHAPES.items()}
    assert found == {"7B": 7.6, "32B": 32.8, "70B": 70.6}
