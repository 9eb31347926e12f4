"""`safereact`: the command line. Exit codes: 0 done or accepted, 1 failure, 2 usage,
3 the gate said no, 128 + n ended by signal n: 130 interrupted, 143 terminated, 129 the terminal
was closed, 141 the output's reader has gone."""

from __future__ import annotations

import sys

from flows.runner.supervisor import supervised

# Commands that keep what they had finished when they are ended, and go on when they are repeated.
_RUNS = ("run", "seeds", "tune", "compare", "withstand", "diagnose")
RESUMED = frozenset((*_RUNS, "check", "watch", "label", "restore"))


def main() -> None:
    """Run the command line."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    sys.exit(supervised(_run, resumes=command in RESUMED))


def _run() -> None:
    # Under supervision, so that an interrupt while it loads is one line, too.
    from flows.cli.commands import app

    app()


if __name__ == "__main__":
    main()
