"""The table of docs/scale.md: `python -m tests.docs.sizing_table` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.models.settings import Shape
from components.profile import load_profile
from flows.doctor.estimate import (
    GB,
    Estimate,
    parameters,
    weight_bytes,
)
from tests.docs.models_table import loads
from tests.root import ROOT

PAGE = ROOT / "docs" / "scale.md"
_BLOCK = "<!-- sizes: written by `python -m tests.docs.sizing_table` -->\n"
_SETTINGS = ROOT / "profiles" / "r1-distill-qwen-7b.yaml"  # one profile's settings for all sizes
# Qwen2.5 7B and 32B, and Llama 3 70B (arXiv 2407.21783, table 3), by their config.json.
_COMMON = {"head_width": 128, "tied": False}
SHAPES = {
    "7B": Shape.model_validate(
        {"layers": 28, "hidden": 3584, "feed_forward": 18944, "vocabulary": 152064}
        | {"heads": 28, "kv_heads": 4, **_COMMON}
    ),
    "32B": Shape.model_validate(
        {"layers": 64, "hidden": 5120, "feed_forward": 27648, "vocabulary": 152064}
        | {"heads": 40, "kv_heads": 8, **_COMMON}
    ),
    "70B": Shape.model_validate(
        {"layers": 80, "hidden": 8192, "feed_forward": 28672, "vocabulary": 128256}
        | {"heads": 64, "kv_heads": 8, **_COMMON}
    ),
}


def sizes() -> Iterator[str]:
    """Yield the table's lines, in decimal gigabytes."""
    profile = load_profile(_SETTINGS)
    yield (
        "| model | parameters | training, bf16 | the same, activations computed again | on each of "
        "8 GPUs | training, 4 bits | generation, bf16 | disk: checkpoints | disk: results |"
    )
    yield "|---" * 9 + "|"
    for name, shape in SHAPES.items():
        again = Estimate(profile, shape).training(checkpointed=True)
        needs = (
            Estimate(profile, shape).training().total,
            again.total,
            again.on_each_of(8),
            Estimate(profile, shape, "nf4").training(checkpointed=True).total,
            Estimate(profile, shape).generation(loads(profile)).total,
            2 * weight_bytes(shape, "bf16"),
            Estimate(profile, shape).disk(),
        )
        cells = [name, f"{parameters(shape) / 1e9:.1f} billion"]
        yield "| " + " | ".join([*cells, *(f"{need / GB:.0f} GB" for need in needs)]) + " |"


def sizing_page(text: str) -> str:
    """Return the page `text` with its table as the estimates give it."""
    table = "".join(f"{line}\n" for line in sizes())
    page, found = re.subn(f"({re.escape(_BLOCK)})(?:\\|.*\n)*", lambda m: m[1] + table, text)
    assert found == 1, f"the page has {found} blocks of sizes"
    return page


if __name__ == "__main__":
    PAGE.write_text(sizing_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
