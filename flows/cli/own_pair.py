"""The commands about a pair of your own: `diagnose` says what it lost, `init` writes its profile,
`add` lists one that you wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import InterruptionError
from components.core.paths import Workspace, find_root
from components.core.vocabulary import Role
from flows.cli.app import Checkpoint, Columns, FileOption, Json, ProfileOrNone, print_json
from flows.cli.terminal import ask_line, console, somebody_answers, wide_console

Named = Annotated[str, typer.Argument(help="The profile's new name.")]
CheckpointsFolder = Annotated[Path | None, typer.Option(help="Folder of both checkpoints.")]


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


def init(
    name: Named,
    base: Checkpoint = None,
    post_trained: Checkpoint = None,
    harmful: FileOption = None,
    benign: FileOption = None,
    reasoning: FileOption = None,
    borderline: FileOption = None,
    column: Columns = None,
    licence: Annotated[str, typer.Option(help="SPDX id of the prompts.")] = "LicenseRef-own",
    checkpoints: CheckpointsFolder = None,
) -> None:
    """Write a profile of your own model pair and prompts, and say what a run would lack.

    On a terminal it asks for what the options leave out, in five questions at most.
    """
    from flows.cli.profiles import add_profile, check_new, name_pair

    workspace = Workspace(find_root(), name)
    check_new(workspace)
    base = base or _ask("Base model, which still refuses (folder, or hub OWNER/NAME@COMMIT)")
    post_trained = post_trained or _ask("Post-trained model")
    given = {Role.HARMFUL: harmful, Role.BENIGN: benign, Role.REASONING: reasoning}
    for role, path in given.items():
        answer = None if path else _ask(f"File of {role} prompts (.jsonl, .csv or .parquet)")
        given[role] = Path(answer).expanduser() if answer else path
    files = {role: path for role, path in {**given, Role.BORDERLINE: borderline}.items() if path}
    pair = name_pair(base, post_trained, files, licence, column or [])
    written = add_profile(workspace, pair, checkpoints=checkpoints)
    folders = [c.folder for c in (pair.base, pair.post_trained) if c.folder]
    written += _ignore(workspace.root, [*files.values(), *folders])
    _print_written(workspace, written)
    _print_lacking(workspace)


def add(name: Named, checkpoints: CheckpointsFolder = None) -> None:
    """List a profile that you wrote, so that DVC and the schedule look after it."""
    from flows.cli.profiles import add_profile

    workspace = Workspace(find_root(), name)
    written = add_profile(workspace, None, checkpoints=checkpoints)
    _print_written(workspace, written)
    console.print(f"now: safereact doctor --profile {name}")


def _ask(question: str) -> str | None:
    """Return the answer on a terminal; None in a script, where nobody would give one."""
    if not somebody_answers():
        return None
    try:
        while not (answer := ask_line(f"{question}: ", sys.stderr).strip()):
            pass
    except EOFError as error:
        raise InterruptionError(
            f"no answer to {question!r}, so nothing was written; `safereact init` asks again, and "
            "`safereact init --help` has an option for each answer"
        ) from error
    return answer


def _ignore(root: Path, paths: Iterable[Path]) -> list[Path]:
    """Have git ignore the files of prompts and folders of checkpoints below `root` of which it
    neither tracks nor ignores anything; return what was written."""
    from components.core.storage import EVERYBODY, atomic_path

    if not any((place / ".git").exists() for place in (root, *root.parents)):
        return []
    home, whole = root.resolve(), [path.resolve() for path in paths]
    inside = [path.relative_to(home) for path in whole if home in path.parents]
    new = [path for path in inside if not _known_to_git(root, path)]
    if not new:
        return []
    file = root / ".gitignore"
    before = file.read_bytes() if file.is_file() else b""  # git asks for no encoding of them
    named = (f"/{path.as_posix()}{'/' * (root / path).is_dir()}" for path in new)
    lines = "".join(f"{one}\n" for one in dict.fromkeys(named))
    with atomic_path(file, mode=EVERYBODY) as scratch:
        scratch.write_bytes(b"\n".join((before.rstrip(), lines.encode())).lstrip())
    return [file]


def _known_to_git(root: Path, path: Path) -> bool:
    """Return whether git ignores a path or tracks something there; where it fails, nobody knows."""
    ignored, tracked = ("check-ignore", "--quiet"), ("ls-files", "--error-unmatch")
    asked = [
        subprocess.run(["git", "-C", root, *words, path], capture_output=True, check=False)
        for words in (ignored, tracked)
    ]
    return any(done.returncode == 0 for done in asked)


def _print_written(workspace: Workspace, written: Iterable[Path]) -> None:
    names = ", ".join(path.relative_to(workspace.root).as_posix() for path in written)
    console.print(f"written: {names}")


def print_findings(workspace: Workspace, *, as_json: bool = False) -> bool:
    """Print what the doctor finds; return whether something is missing for a run."""
    from flows.doctor.examination import examine
    from flows.doctor.findings import State, findings_table

    findings = list(examine(workspace))
    if as_json:
        print_json(findings)
    wide_console().print(findings_table(findings))
    return any(finding.state is State.MISSING for finding in findings)


def _print_lacking(workspace: Workspace) -> None:
    """Print what the doctor finds, and the command that comes next."""
    lacks = print_findings(workspace)
    command = f"{'doctor' if lacks else 'run'} --profile {workspace.profile}"
    console.print(f"now: {'mend what is missing; ' * lacks}safereact {command}")
