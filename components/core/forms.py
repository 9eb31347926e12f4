"""The forms of a prompt as settings name them, the attacks among them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from components.core.section import one_of
from components.core.vocabulary import ATTACKS, Form

PlainForm = Annotated[Form, one_of([form for form in Form if form not in ATTACKS])]


Attack = Annotated[Form, one_of(ATTACKS)]


def _known_attacks(forms: tuple[Form, ...]) -> tuple[Form, ...]:
    if odd := [form.value for form in forms if form not in ATTACKS]:
        raise ValueError(
            f"{', '.join(odd)} is no attack; there are {', '.join(ATTACKS)}, and "
            "evaluate.forced_thought opens a thought in the prompt"
        )
    if len(set(forms)) < len(forms):
        raise ValueError(f"an attack is named twice: {', '.join(forms)}")
    return forms


Attacks = Annotated[tuple[Attack, ...], AfterValidator(_known_attacks)]
