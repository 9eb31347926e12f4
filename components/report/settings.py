"""Settings of the stage `report`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.core.section import Section, Text


class ReportSettings(Section):
    """Settings of the stage `report`."""

    title: Text = Field("Safety reactivation", description="the report's heading")
    redact: bool = Field(
        True, description="hide completions to harmful prompts, in the report and in exports"
    )
    examples: Annotated[int, Field(ge=0, le=50)] = Field(4, description="rows shown a role")
