"""The model card: figures with n and interval, lineage, limits, code that loads the adapter."""

from __future__ import annotations

from pathlib import Path

from components.release.card import cell, summarise, write_card
from components.release.lineage import gather_release
from components.workspace import Workspace
from tests.releases import write_all

ROOT = Path(__file__).parents[3]


def test_a_cell_stays_one_cell():
    assert cell("a | b\nc") == r"a \| b c"
    assert cell("<script>_x_") == r"\<script>\_x\_"


def test_the_card_tells_figures_lineage_and_how_to_load(tmp_path):
    release = gather_release(write_all(Workspace(tmp_path, "demo")))
    card = write_card(release, name="demo-safety", root=ROOT)
    assert "95.0 % [92.0, 97.0], n = 300" in card
    assert r"made \| up" in card
    assert "PeftModel.from_pretrained" in card and "safereact pull demo-safety@champion" in card
    for key in ("adapter\\_digest", "git\\_commit", "dvc\\_train"):
        assert key in card
    for line in (line for line in card.splitlines() if line.startswith("| harmful.")):
        assert line.replace(r"\|", "").count("|") == 6


def test_the_summary_names_the_checkpoint_and_the_figures(tmp_path):
    told = summarise(gather_release(write_all(Workspace(tmp_path, "demo"))))
    assert "artifacts/demo/models/post-trained" in told
    assert "harmful.refused 95.0 % [92.0, 97.0], n = 300" in told


def test_what_nobody_measured_has_no_row(tmp_path):
    release = gather_release(write_all(Workspace(tmp_path, "demo")))
    card = write_card(release, name="demo-safety", root=ROOT)
    assert ".forced." not in card and "| – |" not in card
