"""What `safereact check` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.gate.result import Conclusion
from components.studies.check.result import ArtefactCheck, Line
from flows.cli.measuring import _print_check
from tests.evidence import make_difference


def line(metric: str, conclusion: Conclusion, *, cut: bool) -> Line:
    found = make_difference(metric, 2, 2, 100)
    highest = found if cut else None
    difference = found.model_copy(update={"highest": highest})
    return Line(metric=metric, at_least=True, difference=difference, conclusion=conclusion)


@pytest.mark.parametrize("cut", [True, False])
def test_figures_that_no_number_of_prompts_decides_are_named(cut, capsys):
    lines = (
        line("benign.complied", Conclusion.INCONCLUSIVE, cut=cut),
        line("harmful.refused", Conclusion.PASS, cut=True),
    )
    about = dict.fromkeys(("adapter", "model", "evidence", "test_prompts", "rows"), "0" * 64)
    found = ArtefactCheck(
        kind="gguf", artefact="x.gguf", digest="1" * 64, same_template=True, judges={}, engine="x",
        margin=0.05, confidence=0.95, lines=lines, **about,
    )  # fmt: skip
    _print_check(found, Path("x"))
    told = " ".join(capsys.readouterr().out.split())
    assert ("may decide benign.complied: raise evaluate.max_new_tokens" in told) is cut
    assert "harmful.refused: raise" not in told
