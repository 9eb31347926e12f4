"""The commands, in the order in which the help lists them."""

from __future__ import annotations

from collections.abc import Callable

from flows.cli.answering import chat, serve
from flows.cli.app import app
from flows.cli.harnesses import diff, export, view
from flows.cli.lifecycle import (
    audit,
    champion,
    history,
    label,
    override,
    promote,
    reject,
    rollback,
    withdraw,
)
from flows.cli.measuring import check, watch
from flows.cli.own_pair import add, diagnose, init
from flows.cli.running import doctor, report, run, status, suites
from flows.cli.servers import deploy, notify, ui
from flows.cli.studying import compare, seeds, tune, withstand
from flows.cli.versions import publish, pull, restore, sign, verify

# In the order in which people need them, with an example each; the help lists them so.
_GROUPS: dict[str, dict[Callable[..., None], str]] = {
    "Begin": {
        diagnose: "--base models/base --post-trained models/tuned --harmful harmful.jsonl "
        "--benign benign.jsonl",
        init: "mine --base models/base --post-trained models/tuned --harmful harmful.jsonl "
        "--benign benign.jsonl --reasoning reasoning.jsonl",
        add: "mine --checkpoints models",
        suites: "--profile tiny",
        doctor: "--profile tiny",
    },
    "Run": {
        run: "--profile tiny",
        status: "--all",
        report: "--profile tiny",
        ui: "--port 5001",
        deploy: "",
        seeds: "--profile tiny --seeds 0,1,2",
        tune: "--profile tiny --trials 20 --minutes 60 --to tiny-tuned",
    },
    "Decide": {
        promote: "tiny-safety --by ann --why 'the report was read, 12 completions too'",
        reject: "tiny-safety@candidate --by ann --why 'refuses too many benign prompts'",
        rollback: "tiny-safety --by ann --why 'complaints since Monday'",
        withdraw: "tiny-safety@3 --by ann --why 'complied with a request of the red team'",
        history: "tiny-safety",
        audit: "tiny-safety@champion",
        override: "--profile tiny --rule 'refuses harmful requests' --by ann "
        "--why 'accepted by the owner' --until 2030-01-31",
        label: "--profile tiny --by ann --count 50",
        champion: "--profile tiny",
    },
    "Use": {
        pull: "tiny-safety@champion adapter --whole --key ann.pub.pem",
        serve: "tiny-safety@champion --port 8000 --follow",
        chat: "tiny-safety@champion",
        check: "models/merged --profile tiny --record tiny-safety@candidate",
        watch: "--profile tiny",
        notify: "slack-webhook/ops",
        publish: "tiny-safety@champion --to owner/name",
        restore: "tiny-safety@3",
        sign: "tiny-safety@candidate --key ann.pem",
        verify: "adapter --key ann.pub.pem --rows rows.parquet",
    },
    "Study and compare": {
        compare: "--profile tiny --seeds 0,1,2 --trials 8",
        withstand: "--profile tiny",
        view: "--profile tiny --suite benign --arm restored --outcome refused",
        export: "--to inspect --out logs",
        diff: "logs/before.json logs/after.json",
    },
}
for group, commands in _GROUPS.items():
    for command, example in commands.items():
        called = f"Example: safereact {command.__name__} {example}".rstrip()
        app.command(rich_help_panel=group, epilog=called)(command)
