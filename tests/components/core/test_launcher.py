"""What a launcher's end means: done, an error to mend, or something to go on from."""

from __future__ import annotations

import pytest

from components.core.errors import ConfigError, SafeReActError, StageError
from components.core.launcher import divides_model, is_first, launch, named_launcher, reported
from components.core.run_record import part, run_record, spent_before
from components.core.storage import read_json
from tests.root import ROOT


def test_the_launcher_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("SAFEREACT_LAUNCHER", raising=False)
    assert named_launcher() == []
    monkeypatch.setenv("SAFEREACT_LAUNCHER", "torchrun --nproc-per-node 2")
    assert named_launcher() == ["torchrun", "--nproc-per-node", "2"]


@pytest.mark.parametrize(
    ("words", "divides"),
    [
        ("", False),
        ("torchrun --nproc-per-node 4", False),
        ("torchrun --use_fsdp", False),
        ("accelerate launch --num_processes 4", False),
        ("accelerate launch --use_fsdp --num_processes 4", True),
        ("/opt/bin/accelerate-launch --use-fsdp", True),
        ("accelerate launch --config_file docs/fsdp.yaml", True),
        ("accelerate launch --config-file=docs/fsdp.yaml --num_processes 4", True),
        ("accelerate launch --config_file ddp.yaml", False),
        ("accelerate launch --config_file", False),
        ("accelerate 'launch", False),
    ],
)
def test_a_launcher_that_divides_the_model_is_known(monkeypatch, tmp_path, words, divides):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "ddp.yaml").write_text("distributed_type: MULTI_GPU\n")
    monkeypatch.setenv("SAFEREACT_LAUNCHER", words)
    assert divides_model(tmp_path) is divides


@pytest.mark.parametrize("text", [None, "distributed_type: [", "FSDP"])
def test_a_launcher_s_file_that_cannot_be_read_is_named(monkeypatch, tmp_path, text):
    if text is not None:
        (tmp_path / "own.yaml").write_text(text)
    monkeypatch.setenv("SAFEREACT_LAUNCHER", "accelerate launch --config_file own.yaml")
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        divides_model(tmp_path)


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


def test_a_part_took_as_long_as_its_slowest_process_and_the_memory_of_all(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    kept.mkdir()
    for rank, (seconds, peak) in enumerate([(3.0, 100), (5.0, 40)]):
        monkeypatch.setenv("RANK", str(rank))
        with reported(tmp_path), part("restored"):
            spent_before(seconds, 10_000 * peak)
    left = [path for path in tmp_path.iterdir() if path != kept]
    assert len(left) == 2
    for path in left:
        path.rename(kept / path.name)
    with run_record(tmp_path / "record.json"):
        launch(["bash", "-c", f"cp {kept}/.* {tmp_path}"], "train", "mine", tmp_path)
    record = read_json(tmp_path / "record.json")
    (cost,) = record["parts"].values()
    assert 5 <= cost["seconds"] < 8 and cost["peak_memory_mib"] == 1_400_000
    assert record["peak_memory_mib"] == 1_400_000
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "record.json"}


@pytest.mark.parametrize(("rank", "first"), [(None, True), ("0", True), ("1", False)])
def test_the_first_process_is_known(monkeypatch, rank, first):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_first() is first
