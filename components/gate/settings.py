"""Settings of the stage `gate`."""

from __future__ import annotations

from pydantic import Field

from components.core.section import Section, Text


class GateSettings(Section):
    """Settings of the stage `gate`."""

    policy: Text = Field("default", description="name of a file in mlflow/policies")
