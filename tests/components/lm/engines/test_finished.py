"""A killed process repeats no finished request; a full disk leaves nothing half-written."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.core.errors import InterruptionError, StageError
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.in_process import in_process
from components.lm.engines.protocol import collect
from tests.components.lm.engines.models import ENDS, random_model, requests
from tests.root import ROOT

FILE = "finished.jsonl"


class Counted:
    """An engine that counts what it is asked and notes it in a file, one line a request written."""

    name, ends = "transformers", ENDS

    def __init__(self, log: Path, pause: float = 0.0) -> None:
        self.log, self.pause = log, pause

    def write(self, asked):
        engine = in_process(random_model(), ENDS, rows=4)
        for group in engine.write(asked):
            yield group
            with self.log.open("a") as stream:  # after the store has it
                stream.writelines(f"{asked[i].key}\n" for i in group)
            time.sleep(self.pause)


def asked():
    return [*requests(16, limit=8), *requests(4, limit=8, seed=1, samples=2, temperature=0.8)]


def run(folder: Path, *, pause: float = 0.0):
    """Write everything, or go on with it: what the killed process below runs, too."""
    with FinishedRequests(folder / FILE) as finished:
        engine = finished.resume(Counted(folder / "log", pause), "model a")
        return collect(engine, asked(), label="test")


def test_a_killed_process_goes_on_and_writes_the_same(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    expected = run(undisturbed)
    assert not (undisturbed / FILE).exists()

    code = (
        "from pathlib import Path; import sys;"
        "from tests.components.lm.engines.test_finished import run;"
        "run(Path(sys.argv[1]), pause=0.05)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    log = tmp_path / "log"
    while child.poll() is None and (not log.is_file() or len(log.read_text().splitlines()) < 4):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = (tmp_path / FILE).read_text().splitlines()
    assert 4 <= len(before) < 20

    assert run(tmp_path) == expected
    # All that was noted, by the killed process and by this one; the last group before the kill may
    # have reached the disk without being noted.
    noted = log.read_text().splitlines()
    assert len(noted) == len(set(noted))
    assert 20 - 4 <= len(noted) <= 20


def test_a_torn_last_line_is_written_anew(tmp_path):
    class Stop(Exception):
        pass

    with pytest.raises(Stop), FinishedRequests(tmp_path / FILE) as finished:
        expected = collect(finished.resume(Counted(tmp_path / "log"), "a"), asked(), label="test")
        raise Stop
    path = tmp_path / FILE
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with FinishedRequests(path) as finished:
        again = Counted(tmp_path / "again")
        assert collect(finished.resume(again, "a"), asked(), label="test") == expected
    assert len((tmp_path / "again").read_text().splitlines()) == 1


def test_what_another_model_wrote_is_not_taken(tmp_path):
    finished = FinishedRequests(tmp_path / FILE)
    for number, of in enumerate(("a", "b"), start=1):
        collect(finished.resume(Counted(tmp_path / "log"), of), asked(), label="test")
        assert len((tmp_path / "log").read_text().splitlines()) == 20 * number
    finished.__exit__(None, None, None)


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / FILE
    line = json.dumps({"key": "k", "samples": [[1]]})
    path.write_text(f"{line}\n{line[:9]}\n{line}\n")
    with pytest.raises(StageError, match="line 2 of"):
        FinishedRequests(path)


def test_a_full_disk_keeps_what_is_finished(tmp_path):
    """A limit of the file's size is the full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / FILE
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with (
            pytest.raises(InterruptionError, match=r"no room for .*what was finished is kept"),
            FinishedRequests(path) as finished,
        ):
            engine = finished.resume(Counted(tmp_path / "log"), "a")
            collect(engine, asked(), label="test")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    lines = path.read_text().splitlines()
    assert 2 < len(lines) < 20
    assert all(json.loads(line)["samples"] for line in lines)
    with FinishedRequests(path) as finished:
        done = collect(finished.resume(Counted(tmp_path / "log"), "a"), asked(), label="test")
    assert len(done) == 20
    assert len((tmp_path / "log").read_text().splitlines()) == 20
