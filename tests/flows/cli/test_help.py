"""The help: every command once, by group, without frames where it is piped."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from flows.cli.commands import app
from flows.cli.terminal import console
from tests.flows.conftest import invoke
from tests.root import ROOT

COMMANDS = get_command(app).commands
# Those that print nothing that was measured, decided or found.
WITHOUT_FIGURES = {
    *("init", "add", "suites", "report", "ui", "deploy", "promote", "reject"),
    *("rollback", "withdraw", "override", "label", "champion", "pull", "serve", "chat"),
    *("notify", "publish", "restore", "sign", "verify", "export", "view"),
}


def test_every_command_is_listed_once_in_the_order_of_need():
    text = invoke("--help").stdout
    names = list(get_command(app).commands)
    rows = [line[2:] for line in text.splitlines() if line.startswith("  ")]
    listed = [row.split()[0] for row in rows if row[0] != " "]
    assert [name for name in listed if name in names] == names
    heads = [text.index(f"\n{head}:") for head in ("Begin", "Run", "Decide", "Use")]
    assert heads == sorted(heads)
    assert not set("╭│╰─") & set(text)


def test_the_version_is_printed():
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("safereact ")


@pytest.mark.parametrize("name", COMMANDS)
def test_its_example_is_shown_and_is_a_call_of_it(name):
    command = COMMANDS[name]
    example = shlex.split(command.epilog.removeprefix("Example: "))
    assert example[:2] == ["safereact", name]
    command.make_context(name, example[2:]).close()
    assert "".join(command.epilog.split()) in "".join(invoke(name, "--help").stdout.split())


def test_figures_are_printed_for_machines_too():
    for_machines = {
        name
        for name, command in COMMANDS.items()
        if "json" in {each.name for each in command.params}
    }
    assert for_machines == COMMANDS.keys() - WITHOUT_FIGURES


def test_what_people_read_goes_to_stderr_for_the_command_alone():
    context = COMMANDS["status"].make_context("status", ["--json"])
    assert console.stderr
    context.close()
    assert not console.stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("safereact pro", ["promote"]),
        ("safereact run --profile smo", ["smollm2"]),
        ("safereact run --profile ../[", []),
        ("elsewhere: safereact run --profile smo", []),
    ],
)
def test_a_shell_completes_commands_and_profiles(words, found, tmp_path):
    place, _, words = words.rpartition(": ")
    asked = {
        "_SAFEREACT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    command = [str(Path(sys.executable).with_name("safereact"))]
    environment = {name: text for name, text in os.environ.items() if name != "SAFEREACT_ROOT"}
    done = subprocess.run(
        command,
        cwd=tmp_path if place else ROOT,
        env=environment | asked,
        capture_output=True,
        text=True,
    )
    assert (done.stdout.split(), done.stderr) == (found, "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_who_writes_a_profile_where_none_is_read_is_told_how_it_is_named(name: str):
    options = COMMANDS[name].params
    takes = any(option.name == "profile" for option in options)
    if any(one.required or one.param_type_name == "argument" for one in options):
        return  # its first word is another's name, or something else is missed first
    done = invoke(name, "tiny")
    assert done.returncode == 2 and ("--profile" in done.stderr) is takes, done.stderr
