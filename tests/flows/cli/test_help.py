"""The help: every command once, by group, without frames where it is piped."""

from __future__ import annotations

import subprocess
import sys

from typer.main import get_command

from flows.cli.commands import app
from tests.flows.conftest import invoke


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
