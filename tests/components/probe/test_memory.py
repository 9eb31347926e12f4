"""What probing holds in memory does not grow with the number of prompts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.root import ROOT

MIB = 2**20


def measure(folder: Path, count: int) -> dict[str, float]:
    """Return MiB: what probing `count` prompts adds at most to the memory that probing a tenth of
    them takes, without the pages of mapped files, and what the states of the prompts take on disk.
    """
    from components.core.vocabulary import Prompt, Role, Split
    from components.lm.loading import load_model, load_tokenizer
    from components.probe.answers import Exchange, Loaded
    from components.probe.directions import last_token_states
    from components.probe.set_difference import input_norms

    loaded = Loaded(load_model(folder), load_tokenizer(folder), batch=8)
    words = ("one", "two", "box", "jar", "lamp", "take", "first", "plus")
    texts = [" ".join(words[(i + k) % 8] for k in range(8)) for i in range(count)]
    rows = [
        Prompt(str(i), text, Role.HARMFUL, "t", "s", "MIT", Split.TRAIN)
        for i, text in enumerate(texts)
    ]
    exchanges = [Exchange([1, 2, 3], [4, 5, 6, 7, 8]) for _ in range(count)]

    def probe(count: int) -> int:
        states = last_token_states(loaded, {Role.HARMFUL: rows[:count]}, folder=folder)
        input_norms(loaded.model, exchanges[:count], pad=0, batch=8)
        return states[Role.HARMFUL].nbytes

    probe(count // 10)
    before, peak, done = own_memory(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    stored = probe(count)
    done.set()
    watcher.join()
    return {"grown": (peak - before) / MIB, "stored": stored / MIB}


def own_memory() -> int:
    """Return the bytes of this process that are no mapped file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_times_the_prompts_take_the_same_memory(tmp_path):
    from tests.checkpoints import write_checkpoint

    write_checkpoint(tmp_path, hidden=512, layers=4)
    code = (
        "import json, sys; from pathlib import Path;"
        "from tests.components.probe.test_memory import measure;"
        "print(json.dumps(measure(Path(sys.argv[1]), 1200)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["stored"] > 8
    assert found["grown"] < found["stored"] / 3
