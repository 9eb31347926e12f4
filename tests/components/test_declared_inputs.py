"""Whatever a profile calls its files of prompts, DVC watches that file or it is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.chain import DVC_FILE, TABLE, declared_files, dvc_file, dvc_name, split_dvc_name
from components.core.errors import ConfigError
from components.declared_inputs import dependency

# Of a path: what YAML, DVC's templates, its addresses, its own files or the system read otherwise.
PIECES = (
    *(
        "own",
        "a b",
        " ",
        "'",
        '"',
        "\\",
        "${profiles}",
        "${",
        "}",
        "$",
        "#",
        ": ",
        "- ",
        "!x",
        "&a",
    ),
    *(
        "*",
        "[",
        "{a}",
        "%",
        "@",
        "`",
        "|",
        "> ",
        "~",
        "null",
        "1",
        "\n",
        "\t",
        "\r",
        "\x00",
        "\x85",
    ),
    *("\u2028", "ä", "😀", "/", "/", "/", "..", "../", ".", "//", "s3://", "http://", "remote://"),
    *("file:", "artifacts", "data/prepared/demo", "data", ".dvc", ".dvc/cache", "dvc.yaml", ".git"),
    *(".jsonl", ".csv", ".d", "-", "x.dvc"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of DVC with one listed profile and no stage of it."""
    root = tmp_path_factory.mktemp("repository")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True)
    (root / "profiles").mkdir()
    (root / "data" / "own").mkdir(parents=True)
    listed = "profiles:\n  demo: {checkpoints: own}\ncompared: {}\nattacked: {}\n"
    (root / "params.yaml").write_text(listed)
    (root / DVC_FILE).write_text(dvc_file({}))
    return root


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join))
@example("s3://own/a.jsonl")
@example("../../../../../../../../..")
@example("artifacts/../artifacts/demo/a.csv")
@example("//[")
@example("/.dvc")
@settings(max_examples=300, deadline=None)
def test_dvc_watches_the_named_file_or_it_is_refused(root, path):
    try:
        named = dependency(path, root)
    except ConfigError:
        return
    (root / DVC_FILE).write_text(dvc_file({"demo": [named], "other": []}), encoding="utf-8")
    assert declared_files(root) == {"demo": [named], "other": []}
    with Repo(str(root)) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
        assert repo.index.graph.number_of_nodes() == len(stages)
    assert {"inputs", "prepare-other", *(dvc_name(stage, "demo") for stage in TABLE)} >= set(stages)
    watched = stages["prepare-demo"].deps[1]
    assert os.path.relpath(watched.fs_path, root) == os.path.relpath(root / path, root)
    assert dependency(named, root) == named


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("own/a.jsonl", "own/a.jsonl"),
        ("./own/../own//a b's.jsonl", "own/a b's.jsonl"),
        ("{root}/own/a.jsonl", "own/a.jsonl"),
        ("../{name}/a.jsonl", "a.jsonl"),
        ("../beside/a.jsonl", "../beside/a.jsonl"),
        ("/elsewhere/x/../a.jsonl", "/elsewhere/a.jsonl"),
        ("$x/a{b}.csv", "$x/a{b}.csv"),
        ("artifacts-of-mine/a.csv", "artifacts-of-mine/a.csv"),
    ],
)
def test_a_file_is_named_from_the_root_where_it_lies_below(root, path, named):
    assert dependency(path.format(root=root, name=root.name, b="{b}"), root) == named


@pytest.mark.parametrize(
    "path",
    [
        *("${item.checkpoints}.jsonl", "s3://bucket/a.jsonl", "a\nb.jsonl", "a\x85.jsonl"),
        *("artifacts/demo/probe/a.csv", "own/../data/prepared/demo/prompts.parquet", "{root}"),
        *(
            "data",
            "data/own",
            "..",
            "/",
            "own/dvc.yaml",
            "own/a.jsonl.dvc",
            "{root}/artifacts/a.csv",
        ),
    ],
)
def test_what_dvc_would_take_for_something_else_is_refused(root, path):
    given = path.replace("{root}", str(root))
    with pytest.raises(ConfigError) as error:
        dependency(given, root)
    assert repr(given) in str(error.value)


@pytest.mark.parametrize("profile", ["a", "a-b", "prepare-a", "models", "0.1_x"])
def test_the_name_of_a_stage_in_dvc_is_read_back(profile):
    for stage in TABLE:
        assert split_dvc_name(dvc_name(stage, profile)) == (stage, profile)
    assert split_dvc_name("inputs") == ("inputs", "")
    assert split_dvc_name(f"prepare@{profile}")[1] == ""  # of a `dvc.lock` of before
