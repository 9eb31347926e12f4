"""Profiles: what is accepted, and what the user is told about what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.core.errors import ConfigError
from components.core.section import Section
from components.core.vocabulary import Form, Prompted, Role
from components.evaluate.settings import EvaluateSettings
from components.models.settings import FineTune
from components.prepare.settings import Source, SuiteUse
from components.profile import Profile, load_profile
from components.studies.compare.settings import CompareSettings
from components.train.settings import TrainSettings

MINIMAL = """
prepare:
  sources:
    - {name: mine, path: data/raw/mine.jsonl, licence: MIT, role: harmful}
models: {kind: checkpoints, base: a, post_trained: b}
registration: {name: mine}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_minimal_profile_has_the_files_name_and_the_defaults(tmp_path):
    profile = load_profile(write(tmp_path, MINIMAL))
    assert profile.name == "mine"
    assert profile.prepare.sources[0].role is Role.HARMFUL
    assert profile.train.lora.r == 16


def test_shipped_profiles_are_valid():
    paths = sorted(Path("profiles").glob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_profile(path), Profile)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (MINIMAL + "trian: {lr: 1}\n", "trian: unknown key"),
        (MINIMAL + "train: {lr: 7}\n", "train.lr"),
        (MINIMAL + "train: {lr: 7}\n", "received 7"),
        (MINIMAL + "seed: -1\n", "seed"),
        (MINIMAL + "evaluate: {force_think: true}\n", "force_think: is now called forced_thought"),
        (
            MINIMAL + "train: {forms: [forced]}\n",
            "forced is no form; there are served, forced_thought",
        ),
        (
            MINIMAL + "probe: {pruning: {shares: {}}}\n",
            "at least one share of a matrix or of a row",
        ),
        (
            MINIMAL + "probe: {pruning: {shares: {row: [0.1, 0.1]}}}\n",
            "shares of a row must differ",
        ),
        (MINIMAL + "probe: {pruning: {shares: {matrix: [1]}}}\n", "probe.pruning.shares.matrix"),
        (MINIMAL + "probe: {pruning: {shares: {column: [0.1]}}}\n", "probe.pruning.shares.column"),
        (MINIMAL + "name: other\n", "'name' is not allowed"),
        (MINIMAL.replace("path: data/raw/mine.jsonl, ", ""), "exactly one of `path` and `hub`"),
        (MINIMAL.replace("path: data/raw/mine.jsonl", "hub: o/n"), "needs `revision`"),
        (MINIMAL.replace("checkpoints", "guess"), "models"),
        ("- a\n- b\n", "mapping"),
        ("a: [1\n", "not YAML"),
        ("", "mapping"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_key_and_the_value(tmp_path, text, told):
    with pytest.raises(ConfigError, match="mine") as caught:
        load_profile(write(tmp_path, text))
    assert told in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_profile(tmp_path / "nowhere.yaml")


def test_a_profile_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot read"):
        load_profile(path)


def test_shares_of_fine_tuning_must_sum_to_one():
    assert FineTune(harmful=0.4, benign=0.6).benign == 0.6
    with pytest.raises(ValueError, match=r"must be 1, not 0\.9"):
        FineTune(harmful=0.4, benign=0.5)


@pytest.mark.parametrize("pattern", ["(", "####.*"])
def test_a_pattern_must_compile_and_have_a_group(pattern):
    with pytest.raises(ValueError, match="pattern of 'answer'"):
        Source(name="a", licence="MIT", path="a.jsonl", patterns={"answer": pattern})


@pytest.mark.parametrize(
    ("section", "key", "kind"),
    [
        (TrainSettings, "forms", Form),
        (EvaluateSettings, "attacks", Form),
        (SuiteUse, "attacks", Form),
        (CompareSettings, "prompted", Prompted),
    ],
)
def test_the_schema_lists_what_is_accepted_and_nothing_else(section: type[Section], key, kind):
    schema = section.model_json_schema()["properties"][key]
    kinds = [option for option in schema.get("anyOf", [schema]) if option["type"] == "array"]
    listed = kinds[0]["items"]["enum"]
    assert listed
    for member in kind:
        if member.value in listed:
            value = section.model_validate({key: [member.value]})
            assert getattr(value, key) == (member,)
            assert section.model_validate_json(value.model_dump_json()) == value
        else:
            with pytest.raises(ValueError, match=member.value):
                section.model_validate({key: [member.value]})


BASE = """
description: What several share.
seed: 3
prepare:
  sources:
    - {name: base, path: data/raw/base.jsonl, licence: MIT, role: harmful}
models: {kind: checkpoints, base: a, post_trained: b}
evaluate: {attacks: [prefilled, unthinking]}
train: {lr: 1.0e-3, steps: 9, lora: {r: 8, alpha: 4}}
registration: {name: base}
"""


def write_base(tmp_path: Path, text: str = BASE) -> None:
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "all.yaml").write_text(text)


def test_a_profile_has_what_it_extends_and_its_own_keys(tmp_path):
    write_base(tmp_path)
    own = write(
        tmp_path,
        "extends: bases/all\ntrain: {steps: 5, lora: {r: 2}}\nregistration: {name: mine}\n"
        "prepare: {sources: [{name: own, path: a.jsonl, licence: MIT}, {name: base, limit: 5}]}\n"
        "evaluate: {attacks: [role-play]}\n",
    )
    profile = load_profile(own)
    assert (profile.name, profile.seed, profile.registration.name) == ("mine", 3, "mine")
    assert (profile.train.lr, profile.train.steps) == (1e-3, 5)  # mappings are merged
    assert (profile.train.lora.r, profile.train.lora.alpha) == (2, 4)
    assert profile.evaluate.attacks == (Form.ROLE_PLAY,)  # lists replace
    sources = {source.name: source for source in profile.prepare.sources}  # but for named entries
    assert list(sources) == ["base", "own"]
    assert (sources["base"].limit, sources["base"].role) == (5, Role.HARMFUL)
    (tmp_path / "more.yaml").write_text("extends: mine\nmodels: {kind: tiny}\n")
    more = load_profile(tmp_path / "more.yaml")  # a mapping of another kind replaces
    assert (more.models.kind, more.train.steps, more.seed) == ("tiny", 5, 3)


@pytest.mark.parametrize(
    ("own", "base", "told"),
    [
        ("extends: bases/all\n", "extends: mine\n", "extends"),
        ("extends: mine\n", BASE, "leave `extends` out"),
        ("extends: bases/none\n", BASE, r"none\.yaml, which does not exist"),
        ("extends: ../all\n", BASE, r"'\.\./all'"),
        ("extends: [bases/all]\n", BASE, "bases/all"),
        ("extends: bases/all\n", "a: [1\n", r"all\.yaml.*not YAML"),
        ("extends: bases/all\n", "a: &a [*a]\n", r"all\.yaml"),
        ("extends: bases/all\n", "- a\n", r"all\.yaml must hold a mapping"),
        ("extends: bases/all\n", BASE + "trian: {}\n", "trian: unknown key"),
        ("extends: bases/all\n", BASE + "name: other\n", "'name' is not allowed"),
    ],
)
def test_what_cannot_be_extended_is_one_clear_error(tmp_path, own, base, told):
    write_base(tmp_path, base)
    with pytest.raises(ConfigError, match=told):
        load_profile(write(tmp_path, own))


def test_contexts_by_the_name_of_a_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"probe\.contexts\.pool: .*dictionary.*'ours'"):
        load_profile(write(tmp_path, MINIMAL + "probe: {contexts: {pool: ours}}\n"))
