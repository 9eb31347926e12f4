"""`safereact diagnose`: how much safety a post-trained model lost, and where, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.core.vocabulary import Role
from flows.cli.app import Checkpoint, Columns, FileOption, Json, ProfileOrNone, print_json


def diagnose(
    base: Checkpoint = None,
    post_trained: Checkpoint = None,
    harmful: FileOption = None,
    benign: FileOption = None,
    reasoning: FileOption = None,
    borderline: FileOption = None,
    column: Columns = None,
    profile: ProfileOrNone = None,
    attacks: Annotated[str | None, typer.Option(help="With commas between, or `none`.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Of each role, at most.")] = 100,
    tokens: Annotated[int | None, typer.Option(min=1, help="Of a completion, at most.")] = None,
    out: Annotated[Path | None, typer.Option(help="New or empty folder.")] = None,
    json: Json = False,
) -> None:
    """Say how much safety a post-trained model lost against its base, and where; trains nothing.

    Needs no profile and no repository. With --profile it takes that profile's pair and validation
    prompts. A killed command goes on when it is repeated.
    """
    from flows.cli.diagnosis import Wanted, find_diagnosis, print_diagnosis

    roles = (Role.HARMFUL, Role.BENIGN, Role.REASONING, Role.BORDERLINE)
    files = zip(roles, (harmful, benign, reasoning, borderline), strict=True)
    given = {role: path for role, path in files if path}
    wanted = Wanted(base, post_trained, given, column or [], profile, attacks, prompts, tokens)
    found, folder = find_diagnosis(wanted, out)
    if json:
        print_json({**found.model_dump(), "finding": found.finding})
    else:
        print_diagnosis(found, folder)
