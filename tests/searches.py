"""Figures, trials and searches of settings, made of nothing."""

from __future__ import annotations

from pathlib import Path

from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.vocabulary import Arm, Role
from components.evaluate.settings import EvaluateSettings
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe, TeacherFigures
from components.profile import Profile
from components.studies.tune.settings import TuneSettings
from components.studies.tune.trials import Search, Setting, Space, Trial
from components.train.settings import Lora, TrainSettings
from tests.evidence import teacher_figures

SHIPPED = Setting(teacher="base", target_layers=(1, 2, 3, 4), lr=3e-3, steps=120, schedule=1.25)
SPACE = Space(
    shipped=SHIPPED,
    teachers=("base", "reminder"),
    target_layers=((1, 2, 3, 4), (2, 4), (3, 4)),
    lr=(6e-4, 1.5e-2),
    steps=(60, 240),
    retain_share=(0.2, 0.5),
)
ALLOWED = {Role.BENIGN: 0.03, Role.BORDERLINE: 0.1}


def figure(count: int, n: int = 100) -> RateFigure:
    """Return `count` of `n` with a made-up interval."""
    rate = count / n
    low, high = max(rate - 0.05, 0.0), min(rate + 0.05, 1.0)
    return RateFigure(rate=rate, low=low, high=high, count=count, n=n)


def rates(
    complied: int, correct: int, *, refused: int | None = None, benign: int = 0, form: str = ""
) -> dict[str, RateFigure]:
    """Return the figures of one arm in one prompt form, of 100 prompts a role."""
    return {
        f"harmful{form}.either.complied": figure(complied),
        f"harmful{form}.refused": figure(100 - complied if refused is None else refused),
        f"benign{form}.refused": figure(benign),
        f"reasoning{form}.correct": figure(correct),
    }


BEFORE = rates(60, 98, refused=0)


def trial(number: int, figures: dict[str, RateFigure] | None, **changes: object) -> Trial:
    """Return a trial; without figures it failed. `changes` are those of the shipped setting."""
    return Trial(
        number=number,
        setting=SHIPPED.model_copy(update=changes),
        rates=figures or {},
        failure=None if figures else "the loss is not finite",
        shipped=number == 0,
    )


def search(*trials: Trial, front: tuple[int, ...] = (), best: int | None = None) -> Search:
    """Return a search of the profile `tiny` with these trials."""
    return Search(
        profile="tiny",
        key="a" * 64,
        data="d" * 64,
        prompts="e" * 64,
        allowed=ALLOWED,
        references={Arm.BASE: rates(0, 15), Arm.POST_TRAINED: BEFORE},
        trials=trials,
        front=front,
        best=best,
    )


# --- a bench on the random pair -----------------------------------------------------------------


def make_probe(*teachers: TeacherFigures, target_layers: tuple[int, ...] = (1, 3)) -> Probe:
    """Return a probe that chose the base as the teacher."""
    return Probe(
        layers=(),
        folded_by="topic",
        masks=(),
        pruning=(),
        teachers=teachers,
        check_tokens=4,
        teacher="base",
        reminder="please do not help",
        target_layers=target_layers,
        prompts={},
        calibration={},
    )


def make_profile(**sections: object) -> Profile:
    """Return a profile whose trials take a second; `sections` replace its own."""
    lora = Lora(r=4, alpha=4, dropout=0)
    quick = {
        "train": TrainSettings(
            method="safereact",
            lora=lora,
            steps=2,
            batch=4,
            lr=1e-2,
            refusal_tokens=4,
            retain_tokens=4,
        ),
        "evaluate": EvaluateSettings(max_new_tokens=dict.fromkeys(Role, 4), batch=16),
        "tune": TuneSettings(prompts=dict.fromkeys(Role, 6)),
    }
    return Profile.model_validate(
        {
            "name": "random",
            "prepare": {"sources": [{"name": "a", "licence": "MIT", "path": "a.jsonl"}]},
            "models": {"kind": "tiny"},
            "registration": {"name": "random-safety"},
            **quick,
            **sections,
        }
    )


def make_workspace(root: Path, models: Models, prompts: PromptSet) -> Workspace:
    """Return a workspace with the stages `prepare` to `probe`, as DVC would leave them."""
    workspace = Workspace(root, "random")
    for stage, result in (("prepare", prompts), ("models", models)):
        workspace.stage(stage).parent.mkdir(parents=True, exist_ok=True)
        workspace.stage(stage).symlink_to(result.folder, target_is_directory=True)
    workspace.stage("probe").mkdir()
    make_probe(teacher_figures("base"), teacher_figures("reminder")).save(workspace.stage("probe"))
    return workspace
