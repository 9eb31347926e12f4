"""Times against figures worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.core.vocabulary import Role
from components.judges.settings import GuardSettings, RubricSettings
from components.models.settings import Shape
from components.profile import Profile, load_profile
from flows.doctor import estimate
from flows.doctor.estimate import Workload
from tests.docs.durations import (
    GPUS,
    Gpu,
    arms_of,
    evaluation_seconds,
    judging_seconds,
    rows_at_once,
    token_seconds,
    training_seconds,
)
from tests.root import ROOT

PROFILES = ROOT / "profiles"
SMALL = Shape(
    layers=2, hidden=64, feed_forward=160, heads=4, kv_heads=2, head_width=16, vocabulary=96
)
QUICK = Gpu("quick", 1, 1e30, 1e30)  # on which only the launching of kernels takes time
LOAD = Workload(Role.HARMFUL, "rules", completions=100, prompt=100, tokens=900)


@pytest.fixture
def profile() -> Profile:
    return load_profile(PROFILES / "r1-distill-qwen-7b.yaml")


def changed(profile: Profile, **changes) -> Profile:
    return profile.model_copy(update={"evaluate": profile.evaluate.model_copy(update=changes)})


def test_a_token_takes_the_reading_of_weights_or_the_launching_of_kernels():
    slow = Gpu("slow", 1, 1, 1e6)
    cache = 8 * 10 * 2 * 2 * 2 * 16 * 2
    reading = (estimate.weight_bytes(SMALL, "bf16") + cache) / (1e6 * 0.6)
    assert token_seconds(SMALL, slow, batch=8, length=10) == pytest.approx(reading)
    assert token_seconds(SMALL, QUICK, batch=8, length=10) == 2e-3


def test_training_takes_the_steps_of_both_adapters_and_the_answers(profile):
    weak = Gpu("weak", 1, 1e12, 1e30)
    probe = profile.probe.model_copy(update={"target_layers": (1, 2)})
    block = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160
    # 400 steps of 16 pairs: 100 + 256 tokens at 4 operations a weight, 100 + 512 at 6; the
    # baseline's 400 steps of 16 rows, half of each kind, through head and embeddings, too.
    reactivation = 400 * 16 * (4 * 356 + 6 * 612) * 2 * block
    baseline = 400 * 16 * 4 * (356 + 612) / 2 * (2 * block + 2 * 96 * 64)
    # 300 answers of the teacher, as long as in its check, 512 tokens, and 400 of 512, 64 at once,
    # 2 ms a token.
    answers = (5 * 512 + 7 * 512) * 2e-3
    found = training_seconds(profile.model_copy(update={"probe": probe}), SMALL, weak)
    assert found == pytest.approx((reactivation + baseline) / (1e12 * 0.35) + answers)


def test_an_evaluation_takes_its_batches_one_after_the_other(profile):
    # 100 completions, 32 at once: 4 batches of 900 tokens, 2 ms each, by 4 arms.
    one = evaluation_seconds(changed(profile, batch=32), [LOAD], SMALL, QUICK)
    assert one == pytest.approx(4 * 4 * 900 * 2e-3)
    both = evaluation_seconds(changed(profile, batch=32), [LOAD, LOAD], SMALL, QUICK)
    assert both == pytest.approx(2 * one)
    champion = changed(profile, batch=32, champion=True)
    assert evaluation_seconds(champion, [LOAD], SMALL, QUICK) == pytest.approx(5 / 4 * one)
    # Of 8,292 tokens the engine holds 7 rows, so there are 15 batches.
    long = replace(LOAD, tokens=8192)
    found = evaluation_seconds(changed(profile, batch=32), [long], SMALL, QUICK)
    assert found == pytest.approx(4 * 15 * 8192 * 2e-3)


def test_a_rubric_takes_as_long_as_its_rate_allows(profile):
    judges = {"rubric": RubricSettings(model="a-model", requests_a_minute=120)}
    asked = [LOAD, replace(LOAD, judge="rubric")]
    # Thought and answer of 100 completions by 4 arms, two a second; the rules take no time.
    found = judging_seconds(changed(profile, judges=judges), asked, QUICK)
    assert found == pytest.approx(4 * 100 * 2 / 2)


def test_a_guard_reads_every_case_and_writes_a_verdict(profile):
    guard = GuardSettings(kind="wildguard", model="a/guard", revision="0" * 40, batch=4)
    asked = [replace(LOAD, judge="guard")]
    weak = Gpu("weak", 1, 1e12, 1e30)
    # 800 cases of 400 + 100 + 450 tokens; 24 tokens a verdict, four at once, 32 blocks.
    reading = 2 * estimate.parameters(estimate.GUARDS["wildguard"]) * 950 / (1e12 * 0.35)
    expected = 800 * (reading + 24 * 32e-3 / 4)
    found = judging_seconds(changed(profile, judges={"guard": guard}), asked, weak)
    assert found == pytest.approx(expected)


def test_a_quicker_gpu_takes_no_longer(profile):
    shape = profile.models.shape
    for seconds in (
        [training_seconds(profile, shape, gpu) for gpu in GPUS],
        [evaluation_seconds(profile, [LOAD], shape, gpu) for gpu in GPUS],
        [judging_seconds(profile, [replace(LOAD, judge="wildguard")], gpu) for gpu in GPUS],
    ):
        assert seconds == sorted(seconds, reverse=True) and seconds[-1] > 0


def test_the_champion_is_an_arm_more_where_it_is_asked(profile):
    assert arms_of(changed(profile, champion=False)) == 4
    assert arms_of(changed(profile, champion=True)) == 5


def test_rows_at_once():
    assert rows_at_once(1000, 64) == 64
    assert rows_at_once(8292, 64) == 7
    assert rows_at_once(10**6, 64) == 1
