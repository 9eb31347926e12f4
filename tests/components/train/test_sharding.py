"""A student sharded by FSDP over two processes trains as a whole one does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from components.core.documents import read_yaml
from tests.root import ROOT


@pytest.mark.slow
def test_a_sharded_student_has_the_gradients_of_a_whole_one_and_resumes(random_models, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    student = random_models.folder / "post-trained"
    words = ["-m", "tests.components.train.sharded", str(student), str(tmp_path)]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_accelerate_reads_the_settings_for_fsdp():
    path = ROOT / "docs" / "fsdp.yaml"
    config = load_config_from_file(str(path))
    settings = read_yaml(path)
    assert config.distributed_type == "FSDP"
    assert config.num_processes == settings["num_processes"]
    assert config.fsdp_config == settings["fsdp_config"]
