"""The table of stages: which function runs, on which section, after which results.

A stage function is `(section, *upstream, seed, out) -> Result`. It reads its inputs, writes into
the folder `out`, which is empty or holds what a killed run of the same left there, and touches
nothing else. The table is held against `dvc.yaml` by a test. Nothing else is in this module: of it
each stage depends on its own row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `function` as module:name, and the stages whose results it takes, in order.

    Before them it takes its own section of the profile, and then those named in `settings`. With
    `suites` it takes the prepared prompts with the named suites beside them; without, what it reads
    of `prepare` is the same whatever suites there are. One that `faces` the champion takes it last,
    where its section says so.

    A stage that `resumes` goes on where a killed run stopped; so does one that `trains`, which also
    runs under `SAFEREACT_LAUNCHER`.
    """

    name: str
    function: str
    upstream: tuple[str, ...]
    settings: tuple[str, ...] = ()
    suites: bool = False
    faces: bool = False
    resumes: bool = False
    trains: bool = False


TABLE = {
    stage.name: stage
    for stage in (
        Stage("prepare", "components.prepare.stage:prepare", ()),
        Stage("models", "components.models.stage:models", ("prepare",)),
        Stage("probe", "components.probe.stage:probe", ("prepare", "models")),
        Stage(
            "train",
            "components.train.stage:train",
            ("prepare", "models", "probe"),
            trains=True,
        ),
        Stage(
            "evaluate",
            "components.evaluate.stage:evaluate",
            ("prepare", "models", "train"),
            suites=True,
            faces=True,
            resumes=True,
        ),
        Stage(
            "gate",
            "components.gate.stage:gate",
            ("prepare", "models", "train", "evaluate"),
            settings=("prepare", "evaluate"),
            suites=True,
        ),
        Stage(
            "report",
            "components.report.stage:report",
            ("prepare", "models", "probe", "train", "evaluate", "gate"),
            suites=True,
        ),
        Stage(
            "baselines",
            "components.studies.baselines.stage:baselines",
            ("prepare", "models", "probe"),
            settings=("train",),
            trains=True,
        ),
        Stage(
            "compare",
            "components.studies.compare.stage:compare",
            ("prepare", "models", "probe", "evaluate", "baselines"),
            settings=("evaluate",),
            suites=True,
            resumes=True,
        ),
        Stage(
            "undo",
            "components.studies.undo.stage:undo",
            ("prepare", "models", "train"),
            settings=("train",),
            trains=True,
        ),
        Stage(
            "withstand",
            "components.studies.withstand.stage:withstand",
            ("prepare", "models", "probe", "train", "undo"),
            settings=("evaluate",),
            resumes=True,
        ),
    )
}
