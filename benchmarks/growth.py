"""How seconds and memory grow with the rows: `prepare`, the gate and the report; and with the
trials of `tune`, all but their training.

A source of so many rows in four roles, without topics, is made of words that are drawn as those of
a language are (Zipf), behind one of 97 beginnings. `prepare` reads it. A quarter are test
prompts, which four arms answer, so gate and report have as many judged rows as the source has. No
model is asked. Each stage is `python -m components STAGE`, a process of its own; its seconds are
those of the processor, its memory the most that it ever held.

`python -m benchmarks.growth --help`, or `make bench-growth`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from components.studies.tune.search import Study

ROOT = Path(__file__).resolve().parent.parent
PROFILE = "growth"
STAGES = ("prepare", "gate", "report")
TRIALS = ("propose and add", "conclude and draw")
Used = tuple[float, int]  # seconds of the processor, MiB


def main() -> None:
    """Measure every size and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--trials", type=int, nargs="*", default=[10, 100])
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        what, folder, size = given.make
        return _MAKERS[what](Path(folder), int(size))
    for name, parts, sizes, measure in (
        ("rows", STAGES, given.rows, measure_stages),
        ("trials", TRIALS, given.trials, measure_trials),
    ):
        found = []
        for size in sizes:
            with tempfile.TemporaryDirectory() as scratch:
                found.append(measure(Path(scratch), size))
            print(table(name, parts, sizes[: len(found)], found), flush=True)
    return None


def measure_stages(root: Path, size: int) -> list[Used]:
    """Return what each of `STAGES` takes on so many rows."""
    _make("source", root, size)
    found = [_run(root, "-m", "components", "prepare", "--profile", PROFILE)]
    _make("evaluation", root, size)
    found += [_run(root, "-m", "components", one, "--profile", PROFILE) for one in STAGES[1:]]
    return found


def measure_trials(root: Path, size: int) -> list[Used]:
    """Return what so many trials take in Optuna's store, and their conclusion with its picture."""
    return [_make(what, root, size) for what in ("trials", "conclusion")]


def _make(what: str, root: Path, size: int) -> Used:
    return _run(root, "-m", "benchmarks.growth", "--make", what, str(root), str(size))


def _run(root: Path, *words: str) -> Used:
    """Run Python in `root` and return what it used. This process is small: a child's peak memory
    counts what its parent held when it was started."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=root, env=environment, stdout=said, stderr=said
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(words)} failed:\n{said.read().decode()[-2000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss // 1024


def table(
    name: str, parts: Sequence[str], sizes: Sequence[int], found: Sequence[Sequence[Used]]
) -> str:
    """Return the figures in Markdown; in brackets how many times those of the size before."""

    def cell(place: int, part: int, kind: int) -> str:
        value = found[place][part][kind]
        times = f" (× {value / found[place - 1][part][kind]:.1f})" if place else ""
        return f"{value:,.{1 - kind}f}{times}"

    lines = [
        "| " + " | ".join([name, *(f"{part}, s | MiB" for part in parts)]) + " |",
        "|" + "---|" * (1 + 2 * len(parts)),
    ]
    for place, size in enumerate(sizes):
        cells = (cell(place, part, kind) for part in range(len(parts)) for kind in (0, 1))
        lines.append("| " + " | ".join([f"{size:,}", *cells]) + " |")
    return "\n".join(lines) + "\n"


# --- what is measured on ------------------------------------------------------------------------


def make_source(root: Path, size: int) -> None:
    """Write the source and a profile that reads it and asks every test prompt."""
    import numpy as np

    from components.core.vocabulary import Role
    from components.declared_inputs import declare_files

    draw = np.random.default_rng(0)
    beginnings = [_words(draw, 4) for _ in range(97)]
    with (root / "source.jsonl").open("w", encoding="utf-8") as file:
        for number in range(size):
            text = f"{beginnings[number % 97]} {_words(draw, draw.integers(6, 20))} n{number}"
            row = {"text": text, "role": list(Role)[number % 4], "answer": str(number)}
            file.write(json.dumps(row) + "\n")
    source = {"name": "made", "path": "source.jsonl", "licence": "Apache-2.0"}
    profile = {
        "prepare": {"sources": [source], "validation_share": 0.1, "test_share": 0.25},
        "models": {"kind": "tiny"},
        "evaluate": {"prompts": dict.fromkeys(Role, size)},
        "registration": {"name": PROFILE},
    }
    (root / "profiles").mkdir()
    (root / "profiles" / f"{PROFILE}.yaml").write_text(json.dumps(profile), encoding="utf-8")
    shutil.copytree(ROOT / "mlflow" / "policies", root / "mlflow" / "policies")
    shutil.copy(ROOT / "dvc.yaml", root)
    listed = {"profiles": {PROFILE: {"checkpoints": "none"}}}
    (root / "params.yaml").write_text(json.dumps(listed), encoding="utf-8")
    declare_files(root)


def _words(draw: np.random.Generator, count: int) -> str:
    return " ".join(f"w{rank % 50_000}" for rank in draw.zipf(1.2, count))


def make_evaluation(root: Path, size: int) -> None:
    """Write made-up results of the stages from `models` to `evaluate`."""
    from components.core.paths import Workspace
    from components.prepare.result import PromptSet
    from tests.evidence import model_ref, save_adapter, save_evidence
    from tests.releases import write_adapter, write_result

    workspace = Workspace(root, PROFILE)
    for stage in ("models", "probe"):
        write_result(stage, workspace)
    folder = workspace.stage("train")
    digests = (write_adapter(folder / "adapter"), "6" * 64)
    data = PromptSet.load(workspace.stage("prepare")).digest_of_prompts
    adapter = save_adapter(folder, digests, model_ref("post-trained"), data=data)
    save_evidence(workspace, workspace.stage("evaluate"), adapter, refused=95)


def make_trials(root: Path, size: int) -> None:
    """Propose trials and store made-up figures of each."""
    from components.core.vocabulary import Arm
    from components.studies.tune.places import Tried
    from tests.searches import BEFORE, rates

    study = _open_study(root)
    study.store_references({Arm.BASE: rates(0, 15), Arm.POST_TRAINED: BEFORE})
    for number in range(size):
        (proposal,) = study.propose()
        lr = proposal.setting.lr
        found = rates(min(round(0.1 / lr), 100), round(100 - 1e3 * lr))
        study.add(proposal, Tried(found, None, number, number + 1))


def conclude_trials(root: Path, size: int) -> None:
    """Conclude the search as `safereact tune` does, and draw its picture."""
    from components.studies.tune.objectives import best_of
    from components.studies.tune.search import draw_pareto
    from tests.searches import ALLOWED, BEFORE, search

    study = _open_study(root)
    trials = study.trials
    best = best_of(trials, BEFORE, allowed=ALLOWED, max_reasoning_loss=0.02)
    found = search(*trials, front=study.front, best=best.number if best else None)
    draw_pareto(found, root / "pareto.svg")


def _open_study(root: Path) -> Study:
    from components.studies.tune.search import Study
    from tests.searches import ALLOWED, SPACE

    return Study(root / "study.db", "growth", SPACE, allowed=ALLOWED, seed=0)


_MAKERS = {
    "source": make_source,
    "evaluation": make_evaluation,
    "trials": make_trials,
    "conclusion": conclude_trials,
}

if __name__ == "__main__":
    main()
