"""What all settings share: frozen groups, bounded types, and their errors in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import to_jsonable_python

from components.core.documents import received
from components.core.extensions import added_parts
from components.core.metric_names import SUITE_NAME
from components.core.vocabulary import ATTACKS, PLAIN_FORMS, Form

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopK = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=rf"^{SUITE_NAME.pattern}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def one_of(members: Sequence[StrEnum]) -> WithJsonSchema:
    """Return the JSON schema of the members of an enum that a key takes; validators refuse the
    others and say where they belong."""
    return WithJsonSchema({"type": "string", "enum": [member.value for member in members]})


@dataclass(frozen=True)
class Manner:
    """Marks a setting of how work is done: under another value what was finished holds as well."""


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def deciding(self) -> dict[str, Any]:
        """Return the settings that decide results, as JSON values: all but those of manner."""
        fields = type(self).model_fields.items()
        return {
            name: _deciding(getattr(self, name))
            for name, field in fields
            if Manner() not in field.metadata
        }


def _deciding(value: Any) -> Any:
    if isinstance(value, Section):
        return value.deciding()
    if isinstance(value, Mapping):
        return {str(key): _deciding(item) for key, item in value.items()}
    return to_jsonable_python(value)


class Sampling(Section):
    """How often a prompt is answered, and how each next token is chosen."""

    samples: Positive = Field(1, description="completions a prompt; several need a temperature")
    temperature: Temperature = Field(0, description="of the sampling; 0: greedy")
    top_p: Rate = Field(1, description="share of the next token's probability that is sampled from")
    top_k: TopK = Field(0, description="so many of the likeliest tokens are sampled from; 0: all")

    @model_validator(mode="after")
    def _samples_what_it_says(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are {self.samples} times the same; give "
                "a temperature above 0, or samples: 1"
            )
        for key, given in (("top_p", self.top_p < 1), ("top_k", self.top_k > 0)):
            if given and self.temperature == 0:
                raise ValueError(f"{key} changes nothing at temperature 0; leave it out")
        return self


def _known_forms(names: tuple[str, ...], *, plain: Sequence[Form]) -> tuple[str, ...]:
    known = (*plain, *ATTACKS, *sorted(added_parts("attacks")))
    kind = "form" if plain else "attack"
    if odd := [name for name in names if name not in known]:
        hint = "" if plain else "; evaluate.forced_thought opens a thought in the prompt"
        raise ValueError(f"{', '.join(odd)} is no {kind}; there are {', '.join(known)}{hint}")
    if len(set(names)) < len(names):
        raise ValueError(f"one {kind} is named twice: {', '.join(names)}")
    return names


Attacks = Annotated[
    tuple[Annotated[str, one_of(ATTACKS)], ...], AfterValidator(partial(_known_forms, plain=()))
]
Forms = Annotated[
    tuple[Annotated[str, one_of(tuple(Form))], ...],
    AfterValidator(partial(_known_forms, plain=PLAIN_FORMS)),
]


FORMER_KEYS = {"force_think": "forced_thought"}  # by their names of today


def compiles(expression: str) -> str:
    """Return `expression`, a regular expression; raises `ValueError` where it is none."""
    try:
        re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{expression!r:.80} does not compile: {error}") from error
    return expression


def explain(error: ValidationError, *, page: str = "docs/profiles.md") -> str:
    """Return one line a problem: the key's path, what is wrong, the value received.

    `page` is where the keys are described.
    """
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(document)"
        if problem["type"] == "extra_forbidden":
            now = FORMER_KEYS.get(str(problem["loc"][-1]))
            hint = f"is now called {now}" if now else f"unknown key; see {page} for the keys"
            lines.append(f"  {key}: {hint}")
        else:
            lines.append(f"  {key}: {problem['msg']} (received {received(problem['input'])})")
    return "\n".join(lines)
