"""Adding a profile: what it writes, and that nothing unfit is added."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.documents import read_yaml
from components.core.errors import ConfigError, SafeReActError
from components.core.paths import Workspace
from components.core.vocabulary import Role, Split
from components.prepare.sources import read_source
from components.profile import load_profile
from flows.cli.profiles import Named, Pair, add_profile, name_checkpoint
from tests.checkpoints import write_checkpoint
from tests.flows.conftest import invoke
from tests.terminal import COMMAND_LINE, Session

COMMIT = "0123456789abcdef" * 2 + "01234567"
ROLES = (Role.HARMFUL, Role.BENIGN, Role.REASONING)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return write_checkpoint(folder / "base"), write_checkpoint(folder / "tuned", seed=1)


@pytest.fixture
def files(project: Workspace) -> dict[Role, Path]:
    paths = {role: project.root / "own" / f"{role}.jsonl" for role in ROLES}
    for path in paths.values():
        path.write_text(json.dumps({"text": "x", "answer": "1"}) + "\n")
    return paths


def added(project: Workspace, **given):
    """Add the profile `mine`; return it."""
    workspace = Workspace(project.root, "mine")
    add_profile(workspace, Pair(licence="MIT", **given), checkpoints=None)
    return load_profile(workspace.profile_file)


def refused(project: Workspace, reported: str, **given):
    """Nothing is written where the pair is not fit, and the message says why."""
    before = project.parameters.read_text()
    with pytest.raises(SafeReActError, match=reported):
        added(project, **given)
    assert project.parameters.read_text() == before
    assert not Workspace(project.root, "mine").profile_file.exists()


def test_adds_a_profile_of_ones_own_and_names_the_next_command(project, files, pair):
    (project.root / "models").symlink_to(pair[0].parent)
    options = [f"--{role}={path}" for role, path in files.items()]
    models = [f"--base={project.root}/models/base", f"--post-trained={project.root}/models/tuned"]
    done = invoke("init", "mine", *models, *options)
    assert done.returncode == 0, done.stderr
    assert "safereact doctor --profile mine" in done.stdout.splitlines()[-1]
    assert project.parameters.read_text().startswith("# kept\n")
    entry = read_yaml(project.parameters)["profiles"]["mine"]
    assert entry == {"checkpoints": "models"}
    profile = load_profile(Workspace(project.root, "mine").profile_file)
    assert profile.models.base == "models/base"
    assert profile.description == "models/tuned, post-trained from models/base."
    assert profile.registration.name == "mine-safety"
    trained, asked = set(profile.train.forms), set(profile.evaluate.attacks)
    assert asked & trained and asked - trained, "attacks of both kinds are measured"
    train = profile.train
    assert (train.method, train.teacher_reads, train.retain_reads) == ("distil", "plain", "plain")
    given = profile.prepare.sources[: len(ROLES)]
    assert [source.path for source in given] == [f"own/{role}.jsonl" for role in ROLES]
    assert "`safereact add mine` lists it" in invoke("init", "mine", *models, *options).stderr


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.95},
            {"temperature": 0.6, "top_p": 0.95},
        ),
        ({"do_sample": True, "top_k": 20}, {"temperature": 1.0, "top_k": 20}),
        ({"do_sample": False, "temperature": 0.6}, {}),
        ({"temperature": 0.6, "top_p": 0.9}, {}),  # transformers would not sample
        ({"do_sample": True, "temperature": -1}, {}),
        (None, {}),
    ],
)
def test_the_checkpoints_own_sampling_is_written_into_the_profile(
    project, files, pair, tmp_path, generation, expected
):
    base, post_trained = (shutil.copytree(one, tmp_path / "pair" / one.name) for one in pair)
    (post_trained / "generation_config.json").unlink(missing_ok=True)
    if generation is not None:
        (post_trained / "generation_config.json").write_text(json.dumps(generation))
    named = {"base": Named(str(base)), "post_trained": Named(str(post_trained))}
    sampling = added(project, **named, prompts=files).evaluate.sampling
    assert sampling.model_dump(exclude_defaults=True) == expected
    written = Workspace(project.root, "mine").profile_file.read_text()
    assert ("own generation_config.json" in written) is bool(expected)


def test_a_pair_on_the_hub_is_added_with_its_commits(project, files):
    base, tuned = (name_checkpoint(f"owner/{n}@{COMMIT}", option="--base") for n in "ab")
    models = added(project, base=base, post_trained=tuned, prompts=files).models
    assert (models.base, models.base_revision) == ("owner/a", COMMIT)
    assert (models.post_trained, models.post_trained_revision) == ("owner/b", COMMIT)
    entry = read_yaml(project.parameters)["profiles"]["mine"]
    assert entry == {"checkpoints": "profiles/mine.yaml"}


@pytest.mark.parametrize(
    "text",
    ["models/none", "owner/name", "owner/name@main", f"owner/name@{COMMIT[:39]}", "none", "", "/x"],
)
def test_a_checkpoint_that_is_not_there_is_named(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--post-trained") as raised:
        name_checkpoint(text, option="--post-trained")
    assert f"no folder {text}" in str(raised.value) and "OWNER/NAME@COMMIT" in str(raised.value)


def test_a_pair_without_a_chat_template_is_not_added(project, files, pair, tmp_path):
    bare = write_checkpoint(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    base, tuned = Named(str(pair[0])), Named(str(bare))
    (tmp_path / "base").symlink_to(pair[0])
    base = Named(str(tmp_path / "base"))
    refused(project, "chat template", base=base, post_trained=tuned, prompts=files)


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        ("prompt,answer\nhello,1\n", "no column 'text'; there are: prompt, answer"),
        ("text,solution\nhello,1\n", "no row has an answer"),
        ("", "reasoning"),
    ],
)
def test_a_file_whose_columns_are_not_those_of_prompts_is_not_added(
    project, files, pair, content, reported
):
    path = project.root / "own" / "problems.csv"
    path.write_text(content)
    base, tuned = (Named(str(folder)) for folder in pair)
    prompts = {**files, Role.REASONING: path}
    refused(project, reported, base=base, post_trained=tuned, prompts=prompts)


def test_look_alikes_of_the_repository_are_retained_and_none_is_tested_on(project, files, pair):
    base, tuned = (Named(str(folder)) for folder in pair)
    profile = added(project, base=base, post_trained=tuned, prompts=files)
    ours = [source for source in profile.prepare.sources if source.path.startswith("data/")]
    assert {source.split for source in ours} == {Split.TRAIN, Split.VALIDATION}
    for source in ours:
        there = source.model_copy(update={"path": str(project.root / source.path)})
        rows = read_source(there, 0)
        assert len(rows) >= 48 and {row.role for row in rows} == {Role.BORDERLINE}


def test_columns_of_other_names_are_mapped(project, files, pair):
    path = project.root / "own" / "problems.csv"
    path.write_text("text,solution\nhello,1\n")
    base, tuned = (Named(str(folder)) for folder in pair)
    prompts = {**files, Role.REASONING: path}
    columns = {"answer": "solution"}
    profile = added(project, base=base, post_trained=tuned, prompts=prompts, columns=columns)
    assert [source.columns for source in profile.prepare.sources[:3]] == [{}, {}, columns]


def test_a_field_that_no_prompt_has_is_a_mistake_in_usage(project):
    done = invoke("init", "mine", "--base=x", "--post-trained=y", "--column=question=q")
    assert done.returncode == 2


@pytest.mark.slow  # a terminal
def test_on_a_terminal_it_asks_for_what_is_not_given(project, files, pair, monkeypatch):
    (project.root / "models").symlink_to(pair[0].parent)
    benign = f"--benign={files[Role.BENIGN]}"
    asked = Session("init", "mine", benign, cwd=project.root, SAFEREACT_ROOT=str(project.root))
    questions = ("Base model", "Post-trained", "harmful", "reasoning")
    answers = ("models/base", "models/tuned", files[Role.HARMFUL], files[Role.REASONING])
    for answer in answers:
        asked.press(f"{answer}\r".encode())
    code, errors, _ = asked.ended()
    assert code == 0, errors + asked.output
    assert all(question in errors for question in questions) and "benign" not in errors
    assert load_profile(Workspace(project.root, "mine").profile_file).models.base == "models/base"


@pytest.mark.slow  # a terminal
def test_questions_that_are_broken_off_write_nothing(project):
    asked = Session("init", "mine", cwd=project.root, SAFEREACT_ROOT=str(project.root))
    for key in (b"\r", b"  \r", b"models/base\r", b"\x04"):  # an empty answer is asked for again
        asked.press(key)
    code, errors, _ = asked.ended()
    assert code == 1 and errors.count("Base model") == 3
    assert "no answer to 'Post-trained model'" in errors.splitlines()[-1]
    assert not Workspace(project.root, "mine").profile_file.exists()


@pytest.mark.parametrize("closed", [False, True])
def test_without_a_terminal_what_lacks_is_a_mistake_in_usage(project, files, closed, monkeypatch):
    words = ("init", "mine", "--base=x", f"--harmful={files[Role.HARMFUL]}")
    if closed:  # as `<&-` leaves it
        command = [sys.executable, "-c", f"import sys; sys.stdin = None; {COMMAND_LINE}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    else:
        done = invoke(*words)
    assert done.returncode == 2 and "--reasoning" in done.stderr


@pytest.mark.parametrize("ignored", [False, True])
def test_git_does_not_take_prompts_or_checkpoints_by_accident(project, files, pair, ignored):
    git = ["git", "-C", str(project.root)]
    subprocess.run([*git, "init", "-q"], check=True)
    shutil.copytree(pair[0].parent, project.root / "models")
    (project.root / ".gitignore").write_text("/own/\n/models/" if ignored else "/artifacts/")
    subprocess.run([*git, "add", "-f", files[Role.BENIGN]], check=True)  # on purpose
    options = [f"--{role}={path}" for role, path in files.items()]
    models = [f"--base={project.root}/models/base", f"--post-trained={project.root}/models/tuned"]
    done = invoke("init", "mine", *models, *options)
    assert done.returncode == 0, done.stderr
    status = subprocess.run(
        [*git, "status", "--porcelain", "-uall"], capture_output=True, text=True
    )
    assert "harmful.jsonl" not in status.stdout and "models/" not in status.stdout
    assert "A  own/benign.jsonl" in status.stdout
    lines = (project.root / ".gitignore").read_text().splitlines()
    new = ["/own/harmful.jsonl", "/own/reasoning.jsonl", "/models/base/", "/models/tuned/"]
    assert lines == (["/own/", "/models/"] if ignored else ["/artifacts/", *new])


def test_a_gitignore_in_another_encoding_keeps_its_bytes(project, files, pair):
    before = b"# caf\xe9\n/artifacts/\n"
    (project.root / ".gitignore").write_bytes(before)
    options = [f"--{role}={path}" for role, path in files.items()]
    done = invoke("init", "mine", f"--base={pair[0]}", f"--post-trained={pair[1]}", *options)
    assert done.returncode == 0, done.stderr
    after = (project.root / ".gitignore").read_bytes()
    assert after.startswith(before) and b"\n/own/harmful.jsonl\n" in after


def test_a_git_that_fails_is_no_word_that_it_knows_them(project, files, pair):
    """As one that takes the repository for somebody else's, and is told otherwise later."""
    (project.root / ".git" / "HEAD").write_text("")
    options = [f"--{role}={path}" for role, path in files.items()]
    done = invoke("init", "mine", f"--base={pair[0]}", f"--post-trained={pair[1]}", *options)
    assert done.returncode == 0, done.stderr
    lines = (project.root / ".gitignore").read_text().splitlines()
    assert lines[-3:] == [f"/own/{role}.jsonl" for role in ROLES]
