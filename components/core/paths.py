"""Where everything lies. The only file that names artifact paths."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from components.core.documents import read_yaml, received
from components.core.errors import ConfigError

PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

# The DVC stage before all others: the fingerprints of their code and the settings of the profiles.
INPUTS = "inputs"
# Names the folder of records, logs and unfinished work; a copy of the repository passes away.
RUNS = "SAFEREACT_RUNS"
LISTED = "profiles"  # where params.yaml lists the pairs that this repository keeps safe

# What DVC tells the command of a stage: its name in DVC.
DVC_STAGE = "DVC_STAGE"

# no profile can have that name
INPUTS_FOLDER = "artifacts/.inputs"
# prepare
PROMPTS = "prompts.parquet"  # that train and validate
TESTS = "tests.parquet"
QUARANTINE = "quarantine.parquet"
MANIFEST = "manifest.json"
SUITE_PROMPTS = "suites.parquet"
SUITE_MANIFEST = "suites.json"
DATA_DOCS = "data-docs"
# models
MODELS = "models.json"
BASE = "base"
ANCESTOR = "ancestor"
POST_TRAINED = "post-trained"
# probe
PROBE = "probe.json"
DIRECTIONS = "directions.safetensors"
# Of the teachers that lack weights: which, packed.
MASKS = {"pruned": "masks.safetensors", "pruned-reminder": "masks-reminded.safetensors"}
MASK_SIZES = "masks.parquet"
PRUNING = "pruning.parquet"
POSITIONS = "positions.parquet"
PLOTS = "plots"
# train
TRAINING = "train.json"
ADAPTER = "adapter"
BASELINE = "baseline"
CONTRACT = "prompt_contract.json"
CURVES = "curves.jsonl"
# evaluate
METRICS = "metrics.json"
ROWS = "rows.parquet"
FINISHED = "finished.jsonl"  # while the stage runs
VERDICTS = "verdicts.jsonl"  # while the stage runs
# baselines, compare
BASELINES = "baselines.json"
COMPARISON = "comparison.json"
# diagnose
CHECK = "check.json"
DIAGNOSIS = "diagnosis.json"
DIAGNOSIS_PAGE = "diagnosis.html"
# undo, withstand
UNDO = "undo.json"
WITHSTAND = "withstand.json"
# the suites of test prompts, an input below the root where stages run
SUITES = "data/suites"
# the prompts that come with the repository, an input, too
EMBEDDED = "data/embedded"
# the labelled cases that judges are tried on, another
CALIBRATION = "data/calibration"
# what people said of an evaluation's completions, a file a profile; another
LABELS = "data/labels"
# what `safereact withstand` found, as far as a policy may bound it, a file a profile; another
WITHSTOOD = "data/withstood"
# the search of `safereact tune`
STUDY = "study.db"
TRIALS = "trials.json"
PARETO = "pareto.svg"
# the champion, an input that the registry gives
CHAMPIONS = "data/champions"
CHAMPION = "champion.json"
KEEP = ".gitkeep"  # with it git keeps a folder that is empty otherwise
# gate, report
POLICIES = "mlflow/policies"  # an input, below the root where stages run
OVERRIDES = "mlflow/overrides"  # another
DECISION = "decision.json"
REPORT = "report.html"
FIGURES = "figures.json"  # what `dvc metrics` shows
BARS = "rates.json"  # what `dvc plots` shows
ANNEX = "annex-xi.html"  # beside the report with the studies
# What decides results and is git's to keep, not DVC's.
DECIDING = (
    *("components", "dvc.yaml", "params.yaml", "profiles", "mlflow/model_card.md.j2"),
    *(POLICIES, OVERRIDES, SUITES, CALIBRATION, LABELS, WITHSTOOD, EMBEDDED),
)


def fingerprint_file(root: Path, stage: str) -> Path:
    return root / INPUTS_FOLDER / "code" / stage


def parts_file(root: Path) -> Path:
    """Return the file that lists what other installed packages add."""
    return root / INPUTS_FOLDER / "parts.json"


def tuned_adapter(folder: Path, arm: str, steps: int) -> Path:
    """Return where, in the folder of the stage `undo`, the adapter of an arm lies that was trained
    for so many steps."""
    return folder / arm / f"{steps}-steps"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of one profile below the repository's root."""

    root: Path
    profile: str

    @property
    def profile_file(self) -> Path:
        return self.root / "profiles" / f"{self.profile}.yaml"

    @property
    def settings(self) -> Path:
        """The profile's settings with what it extends and the defaults, which DVC watches."""
        return self.root / INPUTS_FOLDER / "settings" / f"{self.profile}.json"

    def stage(self, name: str) -> Path:
        """The folder that the stage `name` writes."""
        if name == "prepare":
            return self.root / "data" / "prepared" / self.profile
        return self.root / "artifacts" / self.profile / name

    @property
    def runs(self) -> Path:
        """Folder of what runs leave beside their results; outside DVC, since it varies."""
        named = os.environ.get(RUNS)
        return Path(named) if named else self.root / "artifacts" / self.profile / "runs"

    def run_record(self, stage: str) -> Path:
        """Seconds, memory and hardware of a stage's last run."""
        return self.runs / f"{stage}.json"

    def log(self, stage: str) -> Path:
        """Everything that a stage printed in its last run."""
        return self.runs / f"{stage}.log"

    def unfinished(self, stage: str) -> Path | None:
        """Where a stage keeps what a killed run may go on with; None: beside its folder."""
        return self.runs / f".{stage}.partial" if os.environ.get(RUNS) else None

    @property
    def champion(self) -> Path:
        return self.root / CHAMPIONS / self.profile

    @property
    def overrides(self) -> Path:
        return self.root / OVERRIDES / f"{self.profile}.yaml"

    @property
    def labels(self) -> Path:
        return self.root / LABELS / f"{self.profile}.jsonl"

    @property
    def withstood(self) -> Path:
        return self.root / WITHSTOOD / f"{self.profile}.json"

    @property
    def search(self) -> Path:
        """Folder of the search for a better setting; outside DVC, since it grows."""
        return self.root / "artifacts" / self.profile / "tune"

    @property
    def comparison(self) -> Path:
        """Folder of what `safereact compare` shows; outside DVC, since seeds come and go."""
        return self.root / "artifacts" / self.profile / "comparison"

    @property
    def diagnosis(self) -> Path:
        """Folder of what `safereact diagnose` writes; outside DVC, as studies are."""
        return self.root / "artifacts" / self.profile / "diagnosis"

    @property
    def checks(self) -> Path:
        """Folder of what `safereact check` writes, one for each artefact; outside DVC."""
        return self.root / "artifacts" / self.profile / "checks"

    @property
    def full_report(self) -> Path:
        """The report with what studies found; outside DVC, since studies come and go."""
        return self.root / "artifacts" / self.profile / "studies" / REPORT

    @property
    def data_docs(self) -> Path:
        """The Data Docs with the day, beside that report."""
        return self.full_report.with_name(DATA_DOCS)

    @property
    def annex(self) -> Path:
        """The technical documentation, beside that report."""
        return self.full_report.with_name(ANNEX)

    @property
    def parameters(self) -> Path:
        return self.root / "params.yaml"

    @property
    def entry(self) -> dict[str, str] | None:
        """What `params.yaml` lists of this profile, paths by name; None where it is not listed."""
        return read_lists(self.parameters)[LISTED].get(self.profile)

    @property
    def lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def run_lock(self) -> Path:
        """File whose holder is the one run that works in this repository."""
        return self.root / ".dvc" / "tmp" / "safereact.lock"

    @property
    def open_run(self) -> Path:
        """File that is there while a run is open in the embedded Prefect server, and after one that
        was killed."""
        return self.run_lock.with_name("safereact.open-run")

    @property
    def tracking_store(self) -> Path:
        return self.root / "mlruns"

    @property
    def written(self) -> tuple[Path, ...]:
        """The folders that every run writes to, whatever the profile."""
        data = self.root / "data"
        folders = (self.root / "artifacts", data / "prepared", data / "champions")
        return (self.run_lock.parent, self.root, *folders)

    @property
    def private(self) -> tuple[Path, ...]:
        """The folders that hold completions, logs and what was cached of them."""
        results = (self.root / "artifacts", self.root / "data" / "prepared")
        return (*results, self.root / ".dvc" / "cache", self.run_lock.parent)

    @property
    def prefect_home(self) -> Path:
        return self.root / ".prefect"


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above `start` that holds `dvc.yaml` and `profiles/`.

    `SAFEREACT_ROOT` names it outright, but not to what DVC runs: DVC runs a stage in its own
    repository, which may be a copy. Raises `ConfigError` where there is none.
    """
    named = None if DVC_STAGE in os.environ else os.environ.get("SAFEREACT_ROOT")
    here = Path(named).absolute() if named else (start or Path.cwd()).resolve()
    for folder in (here,) if named else (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "profiles").is_dir():
            return folder
    raise ConfigError(
        f"{here} is not in a SafeReAct-Ops repository (no dvc.yaml with profiles/ beside it); "
        "change into one, or set SAFEREACT_ROOT"
    )


def open_workspace(profile: str, root: Path | None = None) -> Workspace:
    """Return the workspace of an existing profile; raises `ConfigError` naming those there are."""
    root = root or find_root()
    workspace = Workspace(root, profile)
    if not PROFILE_NAME.fullmatch(profile) or not workspace.profile_file.is_file():
        known = ", ".join(sorted(p.stem for p in (root / "profiles").glob("*.yaml"))) or "none"
        raise ConfigError(f"unknown profile {profile!r}; profiles/ holds: {known}")
    return workspace


def read_lists(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Return the lists of profiles in `params.yaml`: by the list's name and the profile's, an entry
    of paths by name.

    DVC makes paths of the profiles' names, so one that is not allowed is an error. Raises
    `ConfigError` for it, and where the file has another form.
    """
    lists: dict[str, dict[str, dict[str, str]]] = {}
    for key, entries in {LISTED: {}, **read_yaml(file)}.items():
        if not isinstance(entries or {}, dict):
            found = received(entries)
            raise ConfigError(f"{file}: {key} has to be a mapping of profiles, not {found}")
        lists[str(key)] = {}
        for name, entry in (entries or {}).items():
            if not isinstance(name, str) or not PROFILE_NAME.fullmatch(name):
                raise ConfigError(
                    f"{file}: {key} lists {received(name)}, which is no name of a profile; use "
                    "small letters, digits, '.', '_' and '-', and begin with a letter or digit"
                )
            paths = {} if entry is None else entry
            if not isinstance(paths, dict) or not all(isinstance(p, str) for p in paths.values()):
                raise ConfigError(
                    f"{file}: {key}.{name} has to be paths by name, such as `checkpoints: models`, "
                    f"not {received(entry)}"
                )
            lists[str(key)][name] = dict(paths)
    return lists
