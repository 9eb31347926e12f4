"""Figures for `dvc plots`: DVC fills the repository's template with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml
from dvc_render import VegaRenderer

from components.core.paths import BARS, find_root
from components.report import dvc_views

REVISION = "rev"  # DVC adds it to each datapoint


def fields(spec: Any) -> Iterator[str]:
    if isinstance(spec, dict):
        if isinstance(name := spec.get("field"), str):
            yield name
        yield from (name for value in spec.values() for name in fields(value))
    elif isinstance(spec, list):
        yield from (name for value in spec for name in fields(value))


def test_every_bar_has_what_the_template_draws(good):
    root = find_root()
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    (plot,) = stages["report"]["do"]["plots"]
    ((path, drawn),) = plot.items()
    bars = [bar | {REVISION: "HEAD"} for bar in dvc_views.rates(good.decision, good.evidence)]
    renderer = VegaRenderer(bars, path, **drawn, template_dir=str(root / ".dvc" / "plots"))
    filled = renderer.get_filled_template()

    assert path.endswith(BARS)
    assert "DVC_METRIC" not in json.dumps(filled)
    del filled["data"]
    assert set(fields(filled)) == {"figure", "model", "rate", "low", "high", REVISION}
    assert all(bar.keys() == {"figure", "model", "rate", "low", "high", REVISION} for bar in bars)
