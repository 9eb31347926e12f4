"""Settings of the registration: where an accepted adapter goes, and what only people know of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from components.core.section import Section, Text

# MLflow refuses slashes, colons and names that a path would change; its searches and addresses read
# quotes, `@`, `#`, `?` and `%` as their own.
RegisteredName = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=250, pattern=r"^\w[\w .+-]*$")
]


class Documentation(Section):
    """What only people know of the adapter, for its technical documentation."""

    tasks: Text | None = Field(None, description="what the model is for, and in what systems")
    use_policy: Text | None = Field(None, description="the acceptable use, or where it is written")
    distribution: Text | None = Field(None, description="who gets the adapter, since when and how")
    licence: Text | None = Field(None, description="of the adapter, as an SPDX identifier or words")


class Registration(Section):
    """Where an accepted adapter goes; the server's address comes from the environment."""

    name: RegisteredName = Field(
        description="registered model's name in MLflow: letters, digits, `_`, `-`, `.`, `+`, blanks"
    )
    experiment: Annotated[Text, Field(max_length=250)] = Field(
        "safereact", description="MLflow experiment"
    )
    push: bool = Field(
        False,
        description="what a registered version rests on is pushed to DVC's remote with it, as "
        "`safereact run --push` does",
    )
    documentation: Documentation = Documentation()
