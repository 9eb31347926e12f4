"""The commands that measure again: what is served in the adapter's place, and the champion."""

from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from components.core.errors import ConfigError, EvidenceError
from components.core.paths import Workspace, open_workspace
from flows.cli.app import REJECTED, Json, Profile, open_registry, print_json
from flows.cli.terminal import console, show_progress, wide_console
from flows.cli.versions import named_version

if TYPE_CHECKING:
    from components.studies.check.result import ArtefactCheck
    from components.studies.watch.result import Watch

_STAGES = ("prepare", "models", "train", "evaluate")


def check(
    artefact: Annotated[
        str,
        typer.Argument(
            metavar="ARTEFACT", help="Folder, .gguf file, `nf4`, or a server's http(s) address."
        ),
    ],
    profile: Profile = "tiny",
    served_as: Annotated[str | None, typer.Option(help="What the server calls the model.")] = None,
    margin: Annotated[float, typer.Option(min=0, max=0.25, help="Most that may be lost.")] = 0.05,
    record: Annotated[
        str | None, typer.Option(metavar="NAME@ALIAS", help="Version that is to name it.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask what is served what the evaluated adapter was asked; say whether it is non-inferior.

    A merged checkpoint, the adapter on a model of four bits, a GGUF file or a server's model is
    compared with it prompt by prompt. Exit code 3 unless it is non-inferior in every figure.
    """
    from components.core.environment import settle_environment
    from components.core.http import is_address
    from components.core.storage import digest_bytes
    from components.studies.check.result import NF4, Verdict

    workspace = open_workspace(profile)
    settle_environment()
    if not is_address(artefact) and artefact != NF4:
        artefact = str(Path(artefact).absolute())  # the profile's paths start at the root
    with show_progress(), chdir(workspace.root):
        found, folder = _checked(workspace, artefact, served_as, margin)
    if json:
        print_json({**found.model_dump(), "verdict": found.verdict})
    else:
        _print_check(found, folder.relative_to(workspace.root))
    if record is not None:
        from components.registry.delivery import record_check

        name, alias = named_version(record)
        named = found.digest or digest_bytes(found.artefact.encode())
        about = {"adapter": found.adapter, "artefact": named}
        version = record_check(open_registry(), name, alias, **about, words=found.words)
        console.print(f"recorded with {name} version {version}")
    if found.verdict is not Verdict.NON_INFERIOR:
        raise typer.Exit(REJECTED)


def _checked(
    workspace: Workspace, named: str, served_as: str | None, margin: float
) -> tuple[ArtefactCheck, Path]:
    """Return the check and the folder that it lies in; a killed one goes on.

    Raises `ConfigError` where nothing can be so named, and `EvidenceError` where a stage
    that the evaluation rests on is stale.
    """
    from components.core.fingerprints import Code
    from components.core.storage import digest_bytes, resumable_folder
    from components.evaluate.result import Evidence
    from components.models.result import Models
    from components.prepare.result import SuiteSet
    from components.profile import load_profile
    from components.studies.check.artefact import check_name
    from components.studies.check.comparing import check_artefact
    from components.train.result import Adapter
    from flows.runner.dvc import stale_stages

    check_name(named)
    if stale := stale_stages(workspace, _STAGES):
        again = f"safereact run --profile {workspace.profile}"
        raise EvidenceError(f"stale: {', '.join(stale)}; `{again}` evaluates again first")
    profile = load_profile(workspace.profile_file)
    evidence = Evidence.load(workspace.stage("evaluate"))
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", served_as or Path(named).name).strip("-.")
    if not slug:
        raise ConfigError(f"{named!r} is no name of an artefact")
    which = digest_bytes(f"{named} {served_as}".encode())  # others may have the same name
    folder = workspace.checks / f"{slug}-{which:.8}"
    about = (named, served_as, margin, Evidence.digest_of(evidence.folder))
    key = digest_bytes(f"{about} {Code().fingerprint(check_artefact.__module__)}".encode())
    with resumable_folder(folder, key) as scratch:
        found = check_artefact(
            named,
            profile.evaluate,
            SuiteSet.load(workspace.stage("prepare")),
            Models.load(workspace.stage("models")),
            Adapter.load(workspace.stage("train")),
            evidence,
            served_as=served_as,
            margin=margin,
            seed=profile.data_seed,
            out=scratch,
        )
    return found, folder


def _print_check(found: ArtefactCheck, folder: Path) -> None:
    """Print a line for every figure, and the verdict last."""
    from components.core.result import in_words
    from components.report.wording import interval, points_of

    head = f"{found.artefact} minus the evaluated adapter"
    table = Table("", head, "n", "", title=f"{100 * found.confidence:g} % intervals")
    for line in found.lines:
        one, sign = line.difference, "≥ −" if line.at_least else "≤ +"
        cells = f"{points_of(one)} {interval(one.low, one.high)}"
        n, bound = in_words(one.n, one.clusters), f"{sign}{100 * found.margin:g}"
        table.add_row(line.metric, f"{cells}, {bound}", n, str(line.conclusion))
    wide_console().print(table)
    if cut := [line.metric for line in found.lines if line.cut_off]:
        console.print(
            f"what the token limit cut off may decide {', '.join(cut)}: raise "
            "evaluate.max_new_tokens and evaluate again",
            style="yellow",
        )
    if found.same_template is None:
        console.print(
            "asked by token ids: the server's chat template was not tried", style="yellow"
        )
    elif not found.same_template:
        console.print(
            "its chat template differs from the evaluated model's; it was asked with its own",
            style="yellow",
        )
    if found.digest is None:
        console.print("a server shows no weights: the verdict binds no files", style="yellow")
    else:
        console.print(f"{found.kind} {found.digest[:12]}")
    console.print(f"{found.verdict}: {folder}", style="bold")


def watch(
    profile: Profile = "tiny",
    production: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, exists=True, help="JSONL of prompts and completions people got."
        ),
    ] = None,
    upstream: Annotated[
        bool, typer.Option("--upstream", help="Ask the hub for the pair's commits.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure a profile's champion again: drift since its promotion, none, or too little to tell.

    Exit code 3 unless it is known to do as well as then, and to keep the policy.
    """
    workspace = open_workspace(profile)
    from flows.runner.watching import watch_once

    file = production.absolute() if production else None
    with show_progress():
        found = watch_once(workspace, production=file, upstream=upstream)
    if json:
        standing = {"drift": found.drift, "below_policy": found.below_policy}
        print_json({**found.model_dump(), **standing})
    else:
        _print_watch(found)
    if found.below_policy:
        again = f"below the policy: `safereact run --profile {profile}` trains and decides anew"
        console.print(again, style="red")
    if not found.holds:
        raise typer.Exit(REJECTED)


def _print_watch(found: Watch) -> None:
    from flows.cli.tables import rate_cell

    table = Table("", "now", "at the promotion", "", "")
    for line in found.lines:
        then = str(rate_cell(line.then)) if line.then else "not measured"
        how = "paired" if line.paired else "two samples"
        words = f"{line.why} ({how})" if line.then else line.why
        table.add_row(line.metric, str(rate_cell(line.now)), then, str(line.conclusion), words)
    for rule in found.rules:
        table.add_row(rule.rule, "", "the policy", str(rule.conclusion), rule.why)
    wide_console().print(table)
    for note in found.notes:
        console.print(note, style="yellow")
    console.print(f"version {found.version}: {found.words}", style="bold")
