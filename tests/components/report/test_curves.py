import xml.etree.ElementTree as ET

from components.report.page import loss_curves

LOSSES = ("alignment", "retention")
LINES = [{"step": i, "alignment": 9.0 - i, "retention": 0.1 * i, "c": 0.01 * i} for i in range(8)]


def test_the_drawing_is_one_element_in_the_pages_colours():
    svg = loss_curves(LINES, LOSSES)
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("aria-label")
    assert "var(--accent)" in svg
    assert "var(--warm)" in svg
    words = "".join(root.itertext())
    assert "alignment" in words
    assert "retention" in words


def test_same_values_same_bytes_without_date_or_maker():
    assert loss_curves(LINES, LOSSES) == loss_curves([dict(line) for line in LINES], LOSSES)
    assert "matplotlib.org" not in loss_curves(LINES, LOSSES)
    assert "date" not in loss_curves(LINES, LOSSES).lower()


def test_no_losses_no_drawing_and_one_step_is_a_point():
    assert loss_curves([], LOSSES) is None
    assert loss_curves([{"step": 0, "c": 0.0}], LOSSES) is None
    assert "<use" in loss_curves(LINES[:1], LOSSES)


def test_every_loss_of_a_method_is_drawn_and_its_name_is_text():
    name = '"><script>x</script>'
    lines = [{"step": i, "distillation": 2.0, name: 1.0} for i in (0, 1)]
    svg = loss_curves(lines, ("distillation", name))
    root = ET.fromstring(svg)
    assert "distillation" in "".join(root.itertext()) and name in root.get("aria-label")
    assert "<script" not in svg
