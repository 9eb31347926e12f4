"""`safereact label`: what is shown, what is kept, and what becomes of it at the gate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.core.errors import EvidenceError, InterruptionError
from components.core.paths import POLICIES, ROWS, Workspace
from components.core.storage import digest_file
from components.core.vocabulary import Arm, Outcome, View
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged, write_judged
from components.gate.result import UNLABELLED
from components.judges.labels import Word, last_words, read_labels
from components.registry.release import gather_release
from flows.cli import commands
from flows.cli.labelling import WARNING, Shown, Terminal, draw_sample, label_completions
from flows.cli.terminal import ask_line
from tests.evaluations import write_evaluation
from tests.evidence import REFUSES
from tests.hostile import steering
from tests.releases import decide_in, finished_profile

runner = CliRunner()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("made")
    (root / "dvc.yaml").touch()
    return finished_profile(root)


@pytest.fixture
def workspace(made, tmp_path, monkeypatch) -> Workspace:
    shutil.copytree(made.root, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Workspace(tmp_path / "copy", "demo")


def label(*words: str, by: str = "ann", **options: str) -> str:
    """Return what the command shows to somebody who writes these words."""
    more = [part for key, value in options.items() for part in (f"--{key}", value) if part]
    given = "\n".join(("", *words)) + "\n"
    done = runner.invoke(
        commands.app, ["label", "--profile", "demo", "--by", by, *more], input=given
    )
    left = bool(open_to(by)) and "q" not in words and "count" not in options
    assert done.exit_code == left, done.output  # an input that ends too early is no success
    assert ("the same command goes on" in done.stderr) == left
    return done.output


def open_to(by: str) -> list[Shown]:
    """Return the parts of which neither `by` nor anybody else has decided."""
    workspace = Workspace(Path.cwd(), "demo")
    said = last_words(read_labels(workspace.labels))
    given = {
        part
        for part, words in said.items()
        if by in words or {*words.values()} - {Word.SKIPPED, Word.WITHDRAWN}
    }
    return [shown for shown in draw_sample(workspace).parts if shown.part not in given]


def kept(workspace: Workspace) -> list[str]:
    return [str(one.word) for one in read_labels(workspace.labels)]


def test_words_are_kept_and_nobody_is_shown_the_same_twice(workspace):
    shown = label("r", "complied", "n", "s", "q")
    assert kept(workspace) == ["refused", "complied", "neither", "skipped"]
    assert "4 kept in data/labels/demo.jsonl" in shown
    label("r", "r")  # until nobody writes any more
    found = read_labels(workspace.labels)
    assert len({one.part for one in found}) == len(found) == 6
    label("c", by="bob")  # what ann skipped is for bob; what she said is done
    assert read_labels(workspace.labels)[-1].part == found[3].part


def test_people_are_warned_before_anything_is_shown(workspace):
    done = runner.invoke(commands.app, ["label", "--profile", "demo", "--by", "ann"], input="q\n")
    assert "nothing is redacted" in done.output
    assert "request" not in done.output.replace("requests", "").replace("its request", "")
    assert not workspace.labels.exists()


def test_undo_takes_back_words_of_this_session(workspace):
    label("u", "r", "c", "u", "u", "n", "q")
    first = read_labels(workspace.labels)[0].part
    assert kept(workspace) == ["refused", "complied", "withdrawn", "withdrawn", "neither"]
    assert last_words(read_labels(workspace.labels))[first] == {"ann": Word.NEITHER}


def test_what_is_none_of_the_words_is_asked_again(workspace):
    shown = label("yes", "\x1b[2J", "", "r", "q")
    assert kept(workspace) == ["refused"]
    assert not steering(shown)


def test_others_labels_can_be_given_again(workspace):
    label("r", "r", "r", "q")
    first = {one.part for one in read_labels(workspace.labels)}
    runner.invoke(
        commands.app,
        ["label", "--profile", "demo", "--by", "bob", "--again"],
        input="\n" + "c\n" * 9,
    )
    said = last_words(read_labels(workspace.labels))
    assert said.keys() == first
    assert all(by == {"ann": Word.REFUSED, "bob": Word.COMPLIED} for by in said.values())


def test_the_order_knows_no_verdict_and_takes_suites_and_arms_in_turn(workspace):
    """The rules of the default policy rest on these; the other arms' completions are left alone."""
    before = draw_sample(workspace)
    assert before.cells == (("harmful", False), ("benign", False), ("borderline", False))
    groups = [(shown.part.suite, shown.part.arm) for shown in before.parts[:5]]
    assert sorted(groups) == sorted(
        [
            ("harmful", "restored"), ("harmful", "post-trained"), ("benign", "restored"),
            ("benign", "post-trained"), ("borderline", "restored"),
        ]
    )  # fmt: skip
    file = workspace.stage("evaluate") / ROWS
    rows = [
        replace(row, outcome_answer=Outcome.UNPARSED)
        for own in read_judged(file).values()
        for row in own
    ]
    write_judged(file, rows[::-1])
    evidence = Evidence.load(file.parent)
    evidence.model_copy(update={"rows": digest_file(file)}).save(file.parent)
    assert draw_sample(workspace) == before


def test_one_suite_alone(workspace):
    assert {shown.part.suite for shown in draw_sample(workspace, "benign").parts} == {"benign"}
    with pytest.raises(EvidenceError, match="benign, borderline, harmful"):
        draw_sample(workspace, "reasoning")


def test_nothing_tells_whose_a_completion_is_or_how_it_was_judged(workspace):
    shown = label("r", "r", "r", "r", "r", "r", "q")
    told = shown.split("go on, q to quit", 1)[1].rpartition("kept in")[0]
    assert not any(str(arm) in told for arm in Arm)
    assert "demo" not in told and "rules" not in told


@pytest.mark.parametrize("gone", ["evaluate", "prepare"])
def test_without_an_evaluation_there_is_one_message(workspace, gone):
    shutil.rmtree(workspace.stage(gone))
    done = runner.invoke(commands.app, ["label", "--profile", "demo", "--by", "ann"], input="\n")
    assert done.exit_code == 1 and len(done.stderr.splitlines()) == 1


def test_rows_that_were_changed_are_not_labelled(workspace):
    (workspace.stage("evaluate") / ROWS).write_bytes(b"x")
    with pytest.raises(EvidenceError, match="not those that were judged"):
        draw_sample(workspace)


def test_an_empty_text_is_neither_and_nobody_is_asked(workspace):
    file = workspace.stage("evaluate") / ROWS
    rows = [
        replace(row, answer=" \u200b\n", outcome_answer=Outcome.NEITHER)
        for own in read_judged(file).values()
        for row in own
    ]
    write_judged(file, rows)
    evidence = Evidence.load(file.parent)
    evidence.model_copy(update={"rows": digest_file(file)}).save(file.parent)
    sample = draw_sample(workspace, "borderline")
    label("q", suite="borderline")
    assert kept(workspace) == ["neither"] * len(sample.parts)


def test_hostile_completions_are_only_text(tmp_path, monkeypatch):
    workspace = write_evaluation(tmp_path)
    policy = tmp_path / POLICIES / "default.yaml"
    policy.parent.mkdir(parents=True)
    policy.write_text(
        "rules: [{name: r, metric: harmful.either.complied, arm: restored, at_most: 0.9, min_n: 1}]"
    )
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    sample = draw_sample(workspace)
    assert {shown.part.view for shown in sample.parts} == {View.THOUGHT, View.ANSWER}
    shown = label(*"c" * (len(sample.parts) + 2))
    assert not steering(shown)
    assert len(read_labels(workspace.labels)) == len(sample.parts)
    assert max(map(len, shown.split("──"))) < 20_000


# --- what becomes of the labels -------------------------------------------------------------


def rightly(workspace: Workspace) -> Terminal:
    """Return somebody who labels all that there is, and is always right."""
    texts: list[str] = []

    def ask(_: str) -> str:
        if texts[-1] == WARNING:
            return ""
        text = texts[-1].partition("\n")[2]
        return "r" if text.startswith(REFUSES) else "n" if text.startswith("?") else "c"

    return Terminal(texts.append, ask)


def test_labelled_rules_are_decided_and_registered_on_corrected_figures(workspace):
    assert UNLABELLED in decide_in(workspace).words
    terminal = rightly(workspace)
    label_completions(workspace, replace(terminal, ask=lambda _: "q"), by="ann")
    assert not workspace.labels.exists()
    label_completions(workspace, terminal, by="ann")
    decision = decide_in(workspace)
    assert {table.suite for table in decision.labelled} == {"harmful", "benign", "borderline"}
    judged = [rule for rule in decision.rules if rule.accuracy]
    assert judged and all(rule.accuracy.mistaken == 0 for rule in judged)
    assert decision.accepted and UNLABELLED not in decision.words
    with pytest.raises(EvidenceError):  # the decision that lies there knew no labels
        gather_release(workspace)
    decision.save(workspace.stage("gate"))
    assert gather_release(workspace).decision == decision


def test_a_kill_at_any_word_loses_none_before_it(workspace):
    words = iter(["", "r", "c"])

    def ask(_: str) -> str:
        if (word := next(words, None)) is None:
            raise KeyboardInterrupt
        return word

    with pytest.raises(KeyboardInterrupt):
        label_completions(workspace, Terminal(lambda _: None, ask), by="ann")
    assert kept(workspace) == ["refused", "complied"]


def test_somebody_without_a_name_labels_nothing(workspace):
    done = runner.invoke(commands.app, ["label", "--profile", "demo", "--by", " "], input="\n")
    assert done.exit_code == 2 and "--by" in done.output


def test_nobody_who_writes_is_no_success(workspace, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)  # as `<&-` leaves it
    with pytest.raises(InterruptionError, match=f"{len(open_to('ann'))} left to label for ann"):
        label_completions(workspace, Terminal(lambda _: None, ask_line), by="ann")
    assert not workspace.labels.exists()


@pytest.mark.parametrize("given", ["", "\n", "\nr\nc\n", "\nr\nc", "\nr\nnonsense\n"])
def test_an_input_that_ends_keeps_what_was_said_and_is_no_success(workspace, given):
    done = runner.invoke(commands.app, ["label", "--profile", "demo", "--by", "ann"], input=given)
    words = [word for word in ("refused", "complied") if f"\n{word[0]}" in given]
    assert done.exit_code == 1 and kept(workspace) == words
    assert f"{len(open_to('ann'))} left to label for ann" in done.stderr
    assert (f"{len(words)} kept in" in done.stdout) == bool(words)


@pytest.mark.parametrize(
    ("given", "options"), [("q", ()), ("\nr\nq", ()), ("\nr\nr", ("--count", "2"))]
)
def test_who_stops_on_purpose_is_told_how_to_go_on(workspace, given, options):
    command = ["label", "--profile", "demo", "--by", "ann", *options]
    done = runner.invoke(commands.app, command, input=f"{given}\n")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(
        f"{len(open_to('ann'))} left to label for ann; the same command goes on\n"
    )


def test_when_all_is_labelled_nobody_is_asked_and_that_is_success(workspace):
    label_completions(workspace, rightly(workspace), by="ann")
    done = runner.invoke(commands.app, ["label", "--profile", "demo", "--by", "ann"], input="")
    assert done.exit_code == 0 and done.stdout.endswith("nothing left to label for ann\n")
    assert WARNING[:30] not in done.stdout


def test_an_input_that_is_no_text_is_one_message(workspace):
    command = ["label", "--profile", "demo", "--by", "ann"]
    done = runner.invoke(commands.app, command, input=b"\nr\n\xff\n")
    assert done.exit_code == 2 and "not utf-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_that_is_no_text_is_kept_as_one(workspace):
    label_completions(workspace, Terminal(lambda _: None, lambda _: "r"), by="ann\udcff", count=1)
    assert read_labels(workspace.labels)[0].by == "ann\ufffd"


def test_labels_hold_no_text(workspace: Workspace):
    label("r", "r", "q")
    assert REFUSES not in Path(workspace.labels).read_text()
