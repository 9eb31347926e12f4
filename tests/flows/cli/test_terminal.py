"""What reaches a terminal, byte by byte."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.table import Table
from rich.text import Text

from flows.cli.terminal import Terminal, console, people_on_stderr, show_progress
from tests.hostile import HOSTILE, steering, without_styles

SHORT = {name: text for name, text in HOSTILE.items() if name != "long"}


def terminal(**settings) -> tuple[Terminal, io.StringIO]:
    stream = io.StringIO()
    return Terminal(file=stream, force_terminal=True, width=300, **settings), stream


@pytest.mark.parametrize("text", SHORT.values(), ids=SHORT)
def test_nothing_printed_steers_the_terminal_or_is_markup(text: str):
    console, stream = terminal()
    table = Table("name", text, title=text)
    table.add_row(text, Text(text, "green"))
    console.print(table)
    console.print(text, style="bold")
    console.print(text, highlight=False, soft_wrap=True)
    written = without_styles(stream.getvalue())
    assert steering(written) == []
    written.encode("utf-8")
    for mark in ("[red]x[/red]", "[link=http://example.invalid]y[/link] [/]", ":smile:"):
        assert written.count(mark) == 6 * (mark in text)


def test_colours_are_our_own_alone():
    console, stream = terminal()
    console.print("\x1b[31mred [green]x[/]", highlight=False)
    assert "\x1b" not in stream.getvalue()
    console.print("bold", style="bold")
    assert "\x1b[1m" in stream.getvalue()


@pytest.mark.parametrize("force", [True, False], ids=["terminal", "log"])
def test_lines_of_a_stage_stay_one_line_each(force: bool):
    stream = io.StringIO()
    console = Terminal(file=stream, force_terminal=force, width=120, soft_wrap=not force)
    with show_progress(console):
        for text in HOSTILE.values():
            logging.getLogger("flows").info("[%s] %s", "evaluate", f"done in {text}")
    lines = [line for line in stream.getvalue().splitlines() if "5/7 evaluate" in line]
    assert len([line for line in lines if "done in" in line]) >= len(HOSTILE)
    if not force:
        assert steering(stream.getvalue()) == []
        assert len(stream.getvalue().splitlines()) == len(HOSTILE)
        assert max(map(len, lines)) < 1200


def test_a_log_counts_only_where_nothing_else_is_said_for_long(monkeypatch):
    stream, clock = io.StringIO(), [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with show_progress(Terminal(file=stream, width=120)):
        log = logging.getLogger("flows")
        log.info("[%s] %s", "probe", "starts")
        for done in range(1, 21):
            clock[0] += 10
            log.info("[%s] %s", "probe", f"answers, harmful {done}/20")
        log.info("[%s] %s", "probe", "done in 200 s")
    said = [line.split(maxsplit=2)[2] for line in stream.getvalue().splitlines()]
    counted = [f"answers, harmful {done}/20" for done in (3, 6, 9, 12, 15, 18)]
    assert said == ["starts", *counted, "done in 200 s"]


def test_loggers_are_as_they_were_after_a_run():
    logger = logging.getLogger("flows")
    before = logger.level, logger.propagate, list(logger.handlers)
    with show_progress(terminal()[0]):
        assert not logger.propagate
    assert (logger.level, logger.propagate, logger.handlers) == before


@pytest.mark.parametrize("person", [True, False])
def test_tables_have_frames_only_on_a_terminal(person: bool):
    stream = io.StringIO()
    table = Table("name", "value", title="all")
    table.add_row("a", "1")
    Terminal(file=stream, force_terminal=person, width=80, color_system=None).print(table)
    drawn = {character for character in stream.getvalue() if "\u2500" <= character <= "\u257f"}
    assert bool(drawn) is person and "value" in stream.getvalue()


@pytest.mark.parametrize("piped", ["stdout", "stderr"])
def test_what_goes_to_stderr_is_for_a_terminal_where_stderr_is_one(monkeypatch, piped: str):
    streams = {name: io.StringIO() for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(stream, "isatty", lambda name=name: name != piped)
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    before = dict(vars(console))
    with people_on_stderr():
        console.print("word " * 60, style="bold")
    assert streams["stdout"].getvalue() == ""
    said = streams["stderr"].getvalue()
    assert ("\x1b[1m" in said) is (piped == "stdout")
    assert (said.count("\n") > 1) is (piped == "stdout")
    assert vars(console) == before


@pytest.mark.parametrize("name", ["components.registry.signatures", "flows.runner.registry"])
def test_a_warning_is_shown_once_wherever_it_comes_from(name: str):
    """Prefect's own handler of warnings is silent within a command, and none is a stage's line."""
    stream = io.StringIO()
    with show_progress(Terminal(file=stream, width=300)):
        for _ in range(2):
            logging.getLogger(name).warning("%s: %s", "version 1", "a signature cannot be read")
    assert stream.getvalue() == "warning: version 1: a signature cannot be read\n"
