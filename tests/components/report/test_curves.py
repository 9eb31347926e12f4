import xml.etree.ElementTree as ET

from components.report.page import loss_curves

LINES = [{"step": i, "alignment": 9.0 - i, "retention": 0.1 * i, "c": 0.01 * i} for i in range(8)]


def test_the_drawing_is_one_element_in_the_pages_colours():
    svg = loss_curves(LINES)
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("aria-label")
    assert "var(--accent)" in svg
    assert "var(--warm)" in svg
    words = "".join(root.itertext())
    assert "alignment" in words
    assert "retention" in words


def test_same_values_same_bytes_without_date_or_maker():
    assert loss_curves(LINES) == loss_curves([dict(line) for line in LINES])
    assert "matplotlib.org" not in loss_curves(LINES)
    assert "date" not in loss_curves(LINES).lower()


def test_no_losses_no_drawing_and_one_step_is_a_point():
    assert loss_curves([]) is None
    assert loss_curves([{"step": 0, "c": 0.0}]) is None
    assert "<use" in loss_curves(LINES[:1])
