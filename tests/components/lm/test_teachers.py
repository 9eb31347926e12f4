"""Teachers are found by name, and another package may add one."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from components.core.errors import StageError
from components.lm.teachers import OURS, TEACHERS, Means, TeacherName, find_teacher
from components.lm.vectors import applied


def test_our_teachers_by_name():
    assert TEACHERS.names()[: len(OURS)] == OURS
    found = {name: find_teacher(name) for name in OURS}
    assert [name for name, teacher in found.items() if teacher.is_base] == ["base"]
    assert {name: teacher.masks for name, teacher in found.items() if teacher.masks} == {
        name: name for name in ("pruned", "pruned-reminder")
    }
    assert [name for name, teacher in found.items() if teacher.adds_vector] == ["vector"]
    means = Means(reminder="please", context="be careful")
    assert {name: said for name, teacher in found.items() if (said := teacher.preamble(means))} == {
        "reminder": "please",
        "pruned-reminder": "please",
        "context": "be careful",
    }
    assert [name for name, teacher in found.items() if teacher.in_context] == ["context"]


def test_a_setting_with_an_unknown_name_is_refused_with_those_there_are():
    names = TypeAdapter(TeacherName)
    assert names.validate_python("base") == "base"
    with pytest.raises(ValidationError, match="base, pruned, reminder, pruned-reminder"):
        names.validate_python("nobody")


def test_a_teacher_without_its_means_is_none():
    """Towards the post-trained model as it is nothing is trained."""
    means = Means(reminder="please")
    with pytest.raises(StageError, match="no context"):
        find_teacher("context").preamble(means)
    with pytest.raises(StageError, match="no vector"):
        applied(find_teacher("vector"), None, means)
