"""What `safereact diagnose` does: find the pair and its prompts, ask, and show what came of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from components.core.disk import check_writable
from components.core.environment import settle_environment
from components.core.errors import ConfigError
from components.core.paths import DIAGNOSIS_PAGE, ROWS, Workspace, open_workspace
from components.core.section import explain
from components.core.storage import resumable_folder, write_text
from components.core.vocabulary import Arm, Form, Role
from components.evaluate.settings import EvaluateSettings
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe, TeacherFigures
from components.profile import load_profile
from components.report.wording import interval, points_of
from components.studies.diagnose.result import PairDiagnosis
from flows.cli.profiles import name_checkpoint, read_columns
from flows.cli.tables import rate_cell
from flows.cli.terminal import Terminal, console, handled, show_progress, wide_console
from flows.runner.dvc import bring_up_to_date, stale_stages
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile

if TYPE_CHECKING:
    from components.studies.diagnose.diagnosis import Case

log = logging.getLogger(__name__)

ATTACKS = (Form.PREFILLED, Form.ROLE_PLAY, Form.PERSONA)  # where nobody names others
TOKENS = 256
LICENCE = "LicenseRef-own"
STAGES = ("prepare", "models")  # that a profile's pair and prompts come from
_FILES = {PairDiagnosis.FILE, DIAGNOSIS_PAGE, ROWS}
_NO_TEACHER = "passed the check"  # in what the stage `probe` says where no teacher did


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command was told."""

    base: str | None
    post_trained: str | None
    files: Mapping[Role, Path]
    columns: Sequence[str]
    profile: str | None
    attacks: str | None
    prompts: int
    tokens: int | None

    def check(self) -> None:
        """Raise `ConfigError` unless it names a pair, or a profile, and not both."""
        own = bool(self.base or self.post_trained or self.files or self.columns)
        if self.profile and own:
            raise ConfigError(
                "--profile brings its own pair and prompts; leave out either it or --base, "
                "--post-trained and the files of prompts"
            )
        if not self.profile and not self.post_trained:
            raise ConfigError(
                "give --post-trained, --base beside it, and --harmful FILE; or --profile NAME, "
                "such as --profile tiny, to take a profile's pair and prompts"
            )

    def section(self, given: EvaluateSettings) -> EvaluateSettings:
        """Return how prompts are put and judged: as `given`, with what the command says otherwise.

        Raises `ConfigError` for an attack that is unknown.
        """
        attacks = given.attacks or ATTACKS
        if self.attacks is not None:
            attacks = () if self.attacks == "none" else tuple(self.attacks.split(","))
        limits = given.max_new_tokens
        if self.tokens is not None:
            limits = dict.fromkeys(limits, self.tokens)
        changes = {
            "prompts": dict.fromkeys(limits, self.prompts),
            "max_new_tokens": limits,
            "attacks": attacks,
            "attack_prompts": min(given.attack_prompts, self.prompts),
            "forced_thought": True,
        }
        try:
            return EvaluateSettings.model_validate({**given.model_dump(), **changes})
        except ValidationError as error:
            raise ConfigError(f"the options are not valid:\n{explain(error)}") from error


def find_diagnosis(wanted: Wanted, out: Path | None) -> tuple[PairDiagnosis, Path]:
    """Return the diagnosis and the folder in which it lies, whole, with its page and rows.

    Raises `ConfigError` for options and a folder that cannot be used, and whatever the stages
    `prepare`, `models` and `evaluate` raise for prompts, checkpoints and judges.
    """
    wanted.check()
    workspace = open_workspace(wanted.profile) if wanted.profile else None
    folder = out or (workspace.diagnosis if workspace else Path("diagnosis"))
    whole = check_folder(folder)
    settle_environment()
    progress = Terminal(stderr=True, soft_wrap=not sys.stderr.isatty())
    # A profile's paths count from the repository's root.
    place = chdir(workspace.root) if workspace else nullcontext()
    with show_progress(progress), handled("components", _Relay()), place:
        from components.studies.diagnose.diagnosis import diagnose_pair
        from components.studies.diagnose.page import render

        redact = load_profile(workspace.profile_file).report.redact if workspace else True
        case = _of_profile(wanted, workspace) if workspace else _of_files(wanted)
        with resumable_folder(whole, case.key()) as scratch:
            found = diagnose_pair(case, out=scratch)
            page = render(found, case.asked.prompts, redact=redact)
            write_text(scratch / DIAGNOSIS_PAGE, page)
    return found, folder


def check_folder(folder: Path) -> Path:
    """Return the whole path of `folder`, which a diagnosis may replace.

    Raises `ConfigError` where it may not, and `InterruptionError` where nothing can be written.
    """
    whole = folder.resolve()
    if whole.exists() and not whole.is_dir():
        raise ConfigError(f"--out {folder} is a file; name a folder")
    if whole == Path.cwd() or whole in Path.cwd().parents:
        raise ConfigError(f"--out {folder} is the working directory or above it; name one below it")
    found = {path.name for path in whole.iterdir()} if whole.is_dir() else set()
    others = sorted(found - _FILES if PairDiagnosis.FILE in found else found)
    if others:
        raise ConfigError(
            f"--out {folder} holds other files, such as {others[0]}; name a new or empty folder, "
            "or that of an earlier diagnosis"
        )
    check_writable([whole.parent])
    return whole


def _of_files(wanted: Wanted) -> Case:
    """Return the case of checkpoints and files; prompts come first, since they are read sooner."""
    from components.studies.diagnose.diagnosis import Case
    from components.studies.diagnose.pair import name_pair
    from components.studies.diagnose.prompts import read_prompts

    named = {Arm.BASE: wanted.base, Arm.POST_TRAINED: wanted.post_trained}
    names = {arm: name_checkpoint(text, option=f"--{arm}") for arm, text in named.items() if text}
    section = wanted.section(EvaluateSettings(max_new_tokens=dict.fromkeys(Role, TOKENS)))
    asked = read_prompts(wanted.files, read_columns(wanted.columns), LICENCE)
    pair = name_pair({arm: (one.name, one.revision) for arm, one in names.items()})
    return Case(pair, asked, section, seed=0)


def _of_profile(wanted: Wanted, workspace: Workspace) -> Case:
    """Return the case of a profile, whose pair and prompts are brought up to date."""
    from components.studies.diagnose.diagnosis import Case
    from components.studies.diagnose.pair import prepared_pair
    from components.studies.diagnose.prompts import validation_prompts

    profile = load_profile(workspace.profile_file)
    section = wanted.section(profile.evaluate)
    check_profile(workspace, STAGES)
    with one_run(workspace.root, f"diagnose {workspace.profile}"):
        bring_up_to_date(workspace, STAGES)
        teachers, tried = tried_teachers(workspace)
    asked = validation_prompts(PromptSet.load(workspace.stage("prepare")), workspace.profile)
    pair = prepared_pair(Models.load(workspace.stage("models")))
    return Case(pair, asked, section, profile.data_seed, teachers, tried)


def tried_teachers(workspace: Workspace) -> tuple[tuple[TeacherFigures, ...], tuple[str, ...]]:
    """Return the teachers that the stage `probe` tried for what the profile is now, or, where none
    passed its check, what the stage's last run said of each."""
    folder = workspace.stage("probe")
    if (folder / Probe.FILE).is_file():
        stale = stale_stages(workspace, ("probe",))
        return (() if stale else Probe.load(folder).teachers), ()
    if not workspace.log("probe").is_file():
        return (), ()
    lines = workspace.log("probe").read_text(encoding="utf-8", errors="replace").splitlines()
    said = [i for i, line in enumerate(lines) if _NO_TEACHER in line]
    after = lines[said[-1] + 1 :] if said else []
    return (), tuple(line.strip() for line in after if line.startswith("  "))


class _Relay(logging.Handler):
    """Hands on what the components log as lines of progress; warnings are shown as such."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a line."""
        if record.levelno < logging.WARNING:
            log.info("[%s] %s", "diagnose", record.getMessage())


def print_diagnosis(found: PairDiagnosis, folder: Path) -> None:
    """Print the short table, what it means, what it does not say, and where the page lies."""
    from components.studies.diagnose.page import where_in_short
    from components.studies.diagnose.wording import HEADS, conclusion, unsaid

    wide_console().print(diagnosis_table(found))
    console.print(Text(f"{HEADS[found.finding]}. {conclusion(found)}", "bold"))
    console.print(f"Where: {where_in_short(found)}")
    for line in (*(f"{t.teacher}: {t.reason}" for t in found.teachers), *found.tried):
        console.print(f"tried as teacher: {line}")
    for sentence in unsaid(found):
        console.print(f"note: {sentence}", style="dim")
    page, here = folder / DIAGNOSIS_PAGE, Path.cwd()
    shown = page.relative_to(here) if page.is_relative_to(here) else page
    console.print(f"page: {shown}")


def diagnosis_table(found: PairDiagnosis) -> Table:
    """Return a line for every form of every role's prompts."""
    from components.studies.diagnose.page import lines_of

    table = Table("", *found.models, title=f"{100 * found.confidence:g} % intervals")
    if found.differences:
        table.add_column("post-trained − base, points")
    for line in lines_of(found):
        cells = [
            str(rate_cell(line.rates.get(arm), line.unparsed.get(arm))) for arm in found.models
        ]
        if one := line.difference:
            cells.append(f"{points_of(one)} {interval(one.low, one.high)}")
        table.add_row(line.title, *cells)
    return table
