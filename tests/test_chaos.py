"""A run that is killed at a random moment and run again ends as one that nobody has disturbed.

`make test-chaos` runs it; what is killed, when, and from which stage on follow from the seed that
pytest prints and the test's number.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from components.chain import STAGES, dvc_name
from components.core.documents import read_yaml
from components.core.paths import Workspace
from components.core.storage import read_json
from tests.chain import make_repository, safereact
from tests.chaos import PROFILE, VICTIMS, EndState, KilledRun

pytestmark = [pytest.mark.chaos, pytest.mark.random_order(disabled=True)]
log = logging.getLogger(__name__)

SERVER_SECONDS = 1.0  # by which the embedded server may outlive its parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("number", range(metafunc.config.getoption("kills")))


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A repository after a run that nobody has disturbed, how long it took, and how it ended."""

    root: Path
    seconds: float
    end: EndState

    def seconds_from(self, stage: str) -> float:
        """Return how long a run takes of which the stages before `stage` are done."""
        done = STAGES[: STAGES.index(stage)]
        workspace = Workspace(self.root, PROFILE)
        records = [read_json(workspace.run_record(each)) for each in done]
        return self.seconds - sum(record["seconds"] for record in records)

    def copy_up_to(self, stage: str, root: Path) -> None:
        """Copy the repository as it was before `stage`, with the code compiled."""
        shutil.copytree(self.root, root, symlinks=True)
        workspace = Workspace(root, PROFILE)
        lock = read_yaml(workspace.lock)
        for each in STAGES[STAGES.index(stage) :]:
            command = lock["stages"].pop(dvc_name(each, PROFILE))["cmd"]
            shutil.rmtree(workspace.stage(each))
            for entry in [*(root / ".dvc/cache/runs").glob("*/*/*")]:
                if read_yaml(entry)["cmd"] == command:
                    shutil.rmtree(entry.parents[1])
        workspace.lock.write_text(json.dumps(lock), encoding="utf-8")
        for name in ("mlruns", ".prefect"):
            shutil.rmtree(root / name)


def run(root: Path, scratch: Path) -> float:
    """Run the chain to its end and return the seconds; temporary files lie in `scratch`."""
    begin = time.monotonic()
    done = safereact(root, "run", "--profile", PROFILE, TMPDIR=str(scratch))
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - begin


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    root, scratch = make_repository(folder / "repository"), folder / "scratch"
    scratch.mkdir()
    seconds = run(root, scratch)
    log.info("undisturbed: %.0f s", seconds)
    return Undisturbed(root, seconds, EndState.of(root, scratch))


def test_a_killed_run_is_made_good_by_the_next(
    number: int, undisturbed: Undisturbed, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    random = Random(f"{request.config.getoption('random_order_seed')} {number}")
    stage = random.choice(STAGES)
    moment = random.uniform(0.3, undisturbed.seconds_from(stage))
    # Each in its turn, and where it does not run at this moment, another.
    victims = [VICTIMS[number % len(VICTIMS)], *random.sample(VICTIMS, len(VICTIMS))]
    root, scratch = tmp_path / "repository", tmp_path / "scratch"
    scratch.mkdir()
    undisturbed.copy_up_to(stage, root)
    killed = KilledRun(root, scratch)
    killed.wait(moment)
    there = killed.parts()
    victim = next((kind for kind in victims if kind in there), None)
    if victim is None:
        pytest.skip(f"the run had ended by itself after {moment:.1f} s")
    lived = killed.kill(victim)
    where = (killed.output.splitlines() or ["nothing printed yet"])[-1]
    again = run(root, scratch)
    log.info(
        "kill %d: %s, %.1f s into a run from %s on, at %r; gone in %.2f s, server outlived by %s; "
        "run again in %.0f s",
        *(number, victim, moment, stage, " ".join(where.split())[:50], lived.all),
        *("-" if lived.server is None else f"{lived.server:.3f} s", again),
    )
    assert killed.left() == []
    assert lived.server is None or lived.server < SERVER_SECONDS
    assert EndState.of(root, scratch) == undisturbed.end
    shutil.rmtree(tmp_path)
