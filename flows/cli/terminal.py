"""Consoles that show text as text, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from components.core.untrusted_text import visible


class Terminal(Console):
    """A console on which no text is markup or steers the terminal.

    Colours come from styles and `Text` alone, so what models, data and registries say cannot bring
    its own.
    """

    def __init__(self, **settings: Any) -> None:
        """Take what rich's `Console` takes, but for markup and emoji codes."""
        super().__init__(**settings, markup=False, emoji=False)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a plain string, such as a table's cell, as visible text of its true width."""
        return super().render_str(visible(text), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is to be written; texts that did not come as plain strings are visible, too.

        Rich's own controls, such as moving the cursor, are segments of another kind.
        """
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)

    def on_broken_pipe(self) -> None:
        """Raise the `BrokenPipeError`, which ends the command, instead of going on unseen."""
        raise
