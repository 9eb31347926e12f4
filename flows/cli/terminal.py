"""What a terminal shows: text as text, whatever is in it, and how far a run is."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from components.core.errors import ConfigError
from components.core.untrusted_text import for_terminal, visible

_COUNTS = re.compile(r" \d+/\d+$")


class Terminal(Console):
    """A console on which no text is markup or steers the terminal.

    Colours come from styles and `Text` alone, so what models, data and registries say cannot bring
    its own.
    """

    def __init__(self, **settings: Any) -> None:
        """Take what rich's `Console` takes, but for markup, emoji codes and highlighting."""
        super().__init__(**settings, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a plain string, such as a table's cell, as visible text of its true width."""
        return super().render_str(visible(text), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is to be written; texts that did not come as plain strings are visible, too,
        and in a pipe or a file tables have no frames.

        Rich's own controls, such as moving the cursor, are segments of another kind.
        """
        if isinstance(renderable, Table) and not self.is_terminal:
            renderable.box = None
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)

    def on_broken_pipe(self) -> None:
        """Raise the `BrokenPipeError`, which ends the command, instead of going on unseen."""
        raise


console = Terminal(soft_wrap=not sys.stdout.isatty())


def wide_console(width: int = 200) -> Terminal:
    """Return the terminal, or, in a log, one whose lines are long enough to be copied from."""
    return console if console.is_terminal else Terminal(width=width, stderr=console.stderr)


@contextmanager
def people_on_stderr() -> Iterator[None]:
    """Send what people read to stderr within the block, so that stdout is one JSON document."""
    state, before = vars(console), dict(vars(console))
    # Whoever printed on the console already has it: it becomes one that was made for stderr.
    state.update(vars(Terminal(stderr=True, soft_wrap=not sys.stderr.isatty())))
    try:
        yield
    finally:
        state.update(before)


class Progress(logging.Handler):
    """Shows the lines `[stage] text` that a run logs: which stage, how far, for how long.

    One live line on a terminal. Elsewhere lines are printed as they come, but for those that count,
    `answers 32/64`, of which one comes where nothing else was printed for so many seconds.
    """

    QUIET = 30

    def __init__(self, terminal: Console) -> None:
        """Show on `terminal`."""
        super().__init__(logging.INFO)
        self.console = terminal
        self.begin = self.stage_begin = time.monotonic()
        self.printed = self.begin
        self.stage, self.last = "", "starting Prefect"
        self.warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line of a stage, and a warning, which is no stage's, once."""
        if record.levelno >= logging.WARNING:
            told = for_terminal(record.getMessage())
            if told not in self.warned:
                self.warned.add(told)
                self.console.print(f"warning: {told}", style="yellow")
            return
        if not isinstance(record.args, tuple) or len(record.args) != 2:
            return
        name, self.last = (for_terminal(str(part)) for part in record.args)
        if name != self.stage:
            self.stage, self.stage_begin = name, time.monotonic()
        now, counts = time.monotonic(), _COUNTS.search(self.last)
        if self.console.is_terminal:
            wanted = self.last.startswith(("done in", "up to date"))
        else:
            wanted = not counts or now - self.printed >= self.QUIET
        if wanted:
            self.printed = now
            self.console.print(self._line())

    def __rich__(self) -> Text:
        """Return the live line."""
        now = time.monotonic()
        seconds = f"  {now - self.stage_begin:.0f} s, in all {now - self.begin:.0f} s"
        width = max(self.console.width - len(seconds), 20)
        return Text(self._line()[:width] + seconds, no_wrap=True)

    def _line(self) -> str:
        from components.chain import STAGES

        known = self.stage in STAGES
        place = f"{STAGES.index(self.stage) + 1}/{len(STAGES)} " if known else ""
        return f"{place + self.stage:<16} {self.last}"


@contextmanager
def handled(name: str, handler: logging.Handler) -> Iterator[None]:
    """Give what the logger `name` is told within the block to the handler, and to nobody else."""
    logger = logging.getLogger(name)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def show_progress(terminal: Console = console) -> Iterator[None]:
    """Show what the run within the block logs, and what it warns of."""
    progress = Progress(terminal)
    line = Live(get_renderable=lambda: progress, console=terminal, transient=True)
    live = line if terminal.is_terminal else nullcontext()
    with handled("flows", progress), handled("components", progress), live:
        yield


def somebody_answers() -> bool:
    """Return whether a person is at the terminal to be asked; a closed input has nobody."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask_line(question: str, shown: TextIO | None = None) -> str:
    """Return a line that a person or a program writes, asked on stdout or where it is `shown`.

    Raises `EOFError` at the end, and `ConfigError` where it is not text.
    """
    shown = shown or sys.stdout
    shown.write(question)
    shown.flush()
    try:
        line = sys.stdin.readline() if sys.stdin is not None else ""
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"a line of the input is not {error.encoding}: {error.reason} at byte {error.start}; "
            "convert the input, with `iconv -t UTF-8` for example"
        ) from error
    if not line:
        raise EOFError
    return line
