"""A training method of another package, word for word that of docs/extending.md."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from components.core.paths import CURVES
from components.core.storage import read_json_lines
from components.train.methods import METHODS
from components.train.settings import OWN_METHODS, TrainSettings
from tests.extensions import install
from tests.root import ROOT


def test_a_method_of_another_package_trains_an_adapter(run_stage, quick, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    section = page.partition("## A training method\n")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code, "the page shows no method"
    install(tmp_path, monkeypatch, kind="methods", name="squared", code=code[1])
    settings = TrainSettings.model_validate(quick.model_dump() | {"method": "squared"})
    adapter = run_stage(settings)
    assert adapter.method == "squared" and adapter.steps == quick.steps
    assert adapter.losses.keys() == {"harmful", "retained"}
    curves = read_json_lines(adapter.folder / CURVES)
    assert curves[-1]["harmful"] < curves[0]["harmful"]
    assert adapter.digest != run_stage(quick).digest


@pytest.mark.parametrize("name", [*OWN_METHODS[1:4], *OWN_METHODS[5:]])
def test_each_of_our_methods_may_be_the_one_of_train(run_stage, quick, name):
    adapter = run_stage(quick.model_copy(update={"method": name, "steps": 2}))
    rows = {"on-policy": 2 * quick.batch}.get(name, 12)  # a round's samples, twice
    assert (adapter.method, adapter.steps, adapter.harmful_rows) == (name, 2, rows)


def test_an_unknown_method_is_refused_in_the_profile_with_the_names_of_all():
    assert {*OWN_METHODS} == {*METHODS.names()[: len(OWN_METHODS)]}
    with pytest.raises(ValidationError, match=r"no 'dpo' among the methods; .*safereact.*rank-one"):
        TrainSettings(method="dpo")
