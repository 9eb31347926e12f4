"""The profile that most tests have: the tiny pair's, without its attacks."""

from __future__ import annotations

import re

from components.core.vocabulary import Role
from components.profile import Profile, load_profile
from tests.root import ROOT

TINY = ROOT / "profiles" / "tiny.yaml"
_MEASURED_DEEP = r"  forced_thought: true\n  attacks: .*\n  attack_roles: .*\n"


def plain_text() -> str:
    """Return the profile's text. Rows of all attacks would be ten times as many."""
    text, found = re.subn(_MEASURED_DEEP, "", TINY.read_text())
    assert found == 1, "tests/profiles.py no longer knows how the profile names its attacks"
    return text


def plain_profile() -> Profile:
    """Return the profile."""
    profile = load_profile(TINY)
    shallow = profile.evaluate.model_copy(
        update={"forced_thought": False, "attacks": (), "attack_roles": (Role.HARMFUL,)}
    )
    return profile.model_copy(update={"evaluate": shallow})
