"""Parts are found by name, our own and those of other installed packages."""

from __future__ import annotations

import pytest

from components.core.errors import ConfigError
from components.core.extensions import Extensions
from tests.extensions import install


def test_a_registered_part_is_found_and_an_unknown_name_is_refused_with_those_there_are():
    parts: Extensions[object] = Extensions("kinds")
    part = parts.register("ours")(object())
    assert parts.find("ours") is part
    with pytest.raises(ConfigError, match=r"'theirs'.*ours"):
        parts.find("theirs")
    with pytest.raises(ConfigError, match="two kinds"):
        parts.register("ours")(object())


def test_a_part_of_another_package_is_found_by_its_entry_point(tmp_path, monkeypatch):
    code = "from tests.components.core.test_extensions import OUTSIDE\nOUTSIDE.register('far')(7)\n"
    install(tmp_path, monkeypatch, kind="outside", name="far", code=code)
    assert OUTSIDE.names() == ("far",)
    assert OUTSIDE.find("far") == 7


OUTSIDE: Extensions[int] = Extensions("outside")
