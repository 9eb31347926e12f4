"""What a launcher's end means: done, an error to mend, or something to go on from."""

from __future__ import annotations

import pytest

from components.errors import ConfigError, SafeReActError, StageError
from components.launcher import is_first, launch, named_launcher, reported


def test_the_launcher_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("SAFEREACT_LAUNCHER", raising=False)
    assert named_launcher() == []
    monkeypatch.setenv("SAFEREACT_LAUNCHER", "torchrun --nproc-per-node 2")
    assert named_launcher() == ["torchrun", "--nproc-per-node", "2"]


def test_a_launcher_is_given_the_stage(tmp_path):
    script = 'printf "%s\\n" "$@" > "$0"'
    seen = tmp_path / "seen"
    launch(["bash", "-c", script, str(seen)], "train", "mine", tmp_path)
    words = ["-m", "components", "train", "--profile", "mine", "--into", str(tmp_path)]
    assert seen.read_text().split("\n")[:-1] == words


def test_a_launcher_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="SAFEREACT_LAUNCHER names 'no-such-launcher'"):
        launch(["no-such-launcher"], "train", "mine", tmp_path)


def test_processes_that_end_without_a_word_can_go_on(tmp_path):
    with pytest.raises(ChildProcessError, match=r"ended with code 3.*last checkpoint") as error:
        launch(["bash", "-c", "exit 3"], "train", "mine", tmp_path)
    assert not isinstance(error.value, SafeReActError)  # its scratch folder stays


def test_the_error_of_a_process_is_the_stage_s(tmp_path):
    with pytest.raises(StageError), reported(tmp_path):
        raise StageError("lower the learning rate")
    (left,) = tmp_path.iterdir()
    with pytest.raises(StageError, match="lower the learning rate"):
        launch(["bash", "-c", f"echo 'lower the learning rate' > {left}"], "train", "m", tmp_path)


def test_an_error_of_an_earlier_run_is_forgotten(tmp_path):
    with pytest.raises(StageError), reported(tmp_path):
        raise StageError("lower the learning rate")
    launch(["true"], "train", "mine", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rank", "first"), [(None, True), ("0", True), ("1", False)])
def test_the_first_process_is_known(monkeypatch, rank, first):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_first() is first
