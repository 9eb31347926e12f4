"""Two logs compared, with figures worked out another way."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

from components.core.errors import DataError
from components.studies.diff.differences import compare_logs
from components.studies.diff.logs import Log, Scored
from components.studies.diff.pairs import MOST_LABELS

# Ten prompts: five that both have, three that only A has, one that only B has, one that none has.
TABLE = [(1, 1)] * 5 + [(1, 0)] * 3 + [(0, 1)] + [(0, 0)]


def log_of(values, *, task="sums", metric="acc", content="c", **changes) -> Log:
    """Return a log in which prompt number i, with a content of its own, has the i-th value, or the
    i-th list of values."""
    log = Log(**({"harness": "lm-eval", "path": Path("x")} | changes))
    for number, value in enumerate(values):
        for one in value if isinstance(value, list) else [value]:
            log.add(task, str(number), Scored(f"{content}{number}", "f"), {metric: one})
    return log


def compared(ours, theirs, confidence=0.95):
    (line,) = compare_logs(log_of(ours), log_of(theirs), confidence=confidence).lines
    return line


def score_statistic(truth: float, gained: int, lost: int, n: int) -> float:
    """Tango's statistic (1998, equation 6), with the likeliest share lost found by search."""
    step = 1e-6
    low, high = max(0.0, -truth) + step, (1 - truth) / 2 - step

    def slope(q: float) -> float:
        # of gained * log(q + truth) + lost * log(q) + (n - gained - lost) * log(1 - 2 q - truth)
        agreeing = n - gained - lost
        return gained / (q + truth) + lost / q - 2 * agreeing / (1 - 2 * q - truth)

    q = brentq(slope, low, high)
    return (gained - lost - n * truth) / math.sqrt(n * (2 * q + truth * (1 - truth)))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_ten_prompts_by_hand(confidence: float):
    ours, theirs = zip(*TABLE, strict=True)
    line = compared([float(x) for x in ours], [float(x) for x in theirs], confidence)
    assert (line.n, line.gained, line.lost, line.is_share) == (10, 3, 1, True)
    assert line.difference == pytest.approx(0.2)
    z = norm.ppf((1 + confidence) / 2)
    low = brentq(lambda d: score_statistic(d, 3, 1, 10) - z, -0.9, 0.2)
    high = brentq(lambda d: score_statistic(d, 3, 1, 10) + z, 0.2, 0.9)
    assert (line.low, line.high) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))
    assert line.p_value == pytest.approx(binomtest(3, 4).pvalue) == pytest.approx(0.625)
    assert line.p_holm == line.p_value  # the only line
    for side, hits in ((line.a, 8), (line.b, 6)):
        ends = proportion_confint(hits, 10, alpha=1 - confidence, method="wilson")
        assert (side.value, side.samples) == (hits / 10, 10)
        assert (side.low, side.high) == pytest.approx(ends)


def test_holm_is_over_all_lines():
    a, b = log_of([1.0] * 8), log_of([0.0] * 8)
    for log, value in ((a, 1.0), (b, 0.0)):
        for number in range(6):
            log.add("other", str(number), Scored(f"c{number}", "f"), {"acc": value})
    first, second = compare_logs(a, b, confidence=0.95).lines
    assert (first.p_value, second.p_value) == (2 / 2**8, 2 / 2**6)
    assert first.p_holm == pytest.approx(2 * 2 / 2**8) and second.p_holm == second.p_value


def test_samples_of_a_prompt_are_not_prompts():
    ours, theirs = [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    line = compared(ours, theirs)
    assert (line.n, line.a.samples, line.gained, line.lost) == (3, 6, 2, 0)
    assert (line.a.value, line.difference, line.p_value) == (0.5, 0.5, 0.5)


def test_numbers_have_a_mean_difference_and_no_p_value():
    ours, theirs = [1.5, 2.0, 4.0, 8.0, 3.0], [[1.0, 2.0], 1.0, 1.0, 5.0, 4.0]
    line = compared(ours, theirs)
    gaps = [0.0, 1.0, 3.0, 3.0, -1.0]
    assert not line.is_share and line.p_value is None and line.p_holm is None
    assert line.difference == pytest.approx(fmean(gaps)) and (line.gained, line.lost) == (3, 1)
    reach = 2.776445 * 0.8  # Student's quantile, and the standard deviation over the root of n
    assert (line.low, line.high) == pytest.approx((1.2 - reach, 1.2 + reach))
    assert line.a.value == pytest.approx(3.7) and line.a.low < 3.7 < line.a.high
    assert compared(ours, theirs) == line


@pytest.mark.parametrize("ours", [[1e-200, 3e-200, 9e-200], [1e50, -1e50, 3.0], [5.0]])
def test_numbers_of_any_size_have_finite_figures(ours):
    line = compared(ours, [0.5] * len(ours))
    ends = (line.low, line.difference, line.high, line.a.low, line.a.high)
    assert all(map(math.isfinite, ends))


def test_only_shared_prompts_count_and_the_others_are_counted():
    found = compare_logs(log_of([1.0] * 5), log_of([1.0] * 3), confidence=0.95)
    assert found.lines[0].n == 3 and list(found.left_out.values()) == [2]
    gaps = log_of([1.0] * 4)
    del gaps.tasks["sums"]["0"].values["acc"]
    found = compare_logs(gaps, log_of([1.0] * 3), confidence=0.95)
    assert found.lines[0].n == 2 and sorted(found.left_out.values()) == [1, 1]


def test_prompts_that_were_put_in_other_words_count_and_are_told():
    other = log_of([1.0, 1.0, 0.0])
    other.tasks["sums"]["1"].form = "g"
    found = compare_logs(log_of([1.0, 1.0, 0.0]), other, confidence=0.95)
    assert found.lines[0].n == 3
    assert [note[:6] for note in found.notes] == ["1 of 3"]
    assert not compare_logs(other, other, confidence=0.95).notes


def test_texts_are_shares_of_each_text_in_both_logs():
    a, b = log_of(["refused", "refused", "complied"]), log_of(["refused", "unparsed", "refused"])
    lines = {line.metric: line for line in compare_logs(a, b, confidence=0.95).lines}
    assert list(lines) == ["acc=complied", "acc=refused", "acc=unparsed"]
    assert {name: (line.a.value, line.b.value) for name, line in lines.items()} == {
        "acc=complied": (1 / 3, 0),
        "acc=refused": (2 / 3, 2 / 3),
        "acc=unparsed": (0, 1 / 3),
    }


@pytest.mark.parametrize(
    "values", [["x", 1.0], ["x", "it is"], ["x" * 33], [str(i) for i in range(MOST_LABELS + 1)]]
)
def test_texts_that_are_no_labels_are_left_out_aloud(values):
    a, b = log_of(values), log_of(values)
    with pytest.raises(DataError, match="acc of task sums is left out"):
        compare_logs(a, b, confidence=0.95)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"task": "arc"}, "share no task: A has sums, B has arc"),
        ({"metric": "em"}, "only A has of task sums: acc; only B has of task sums: em"),
        ({"content": "d"}, "prompt 0 of task sums has another content in B, as have 1 more of 2"),
        ({"harness": "Inspect"}, "A is of lm-eval and B of Inspect"),
    ],
)
def test_what_cannot_be_paired_is_refused(other, message):
    with pytest.raises(DataError, match=message):
        compare_logs(log_of([1.0, 0.0]), log_of([1.0, 0.0], **other), confidence=0.95)


def test_a_task_of_countless_metrics_is_refused():
    log = log_of([])
    for number in range(300):
        log.add("sums", str(number), Scored("c", "f"), {f"m{number}": 1.0})
    with pytest.raises(DataError, match="more than 200 metrics"):
        compare_logs(log, log, confidence=0.95)


def test_no_shared_prompt_is_an_error():
    other = log_of([1.0])
    other.tasks["sums"] = {"7": other.tasks["sums"]["0"]}
    with pytest.raises(DataError, match="share no prompt of task sums"):
        compare_logs(log_of([1.0]), other, confidence=0.95)


@pytest.mark.parametrize(
    ("ours", "theirs"), [([3.5], [1.5]), ([0.3, 0.7], [0.2, 0.6]), ([0.2, 3.0, 9.0],) * 2]
)
def test_a_number_that_always_differs_by_the_same_is_said_to_say_nothing_of_others(ours, theirs):
    found = compare_logs(log_of(ours), log_of(theirs), confidence=0.95)
    told = f"acc of task sums differs by the same in each of {len(ours)} prompts"
    assert told in " ".join(found.notes)


def test_an_interval_with_a_width_has_no_note():
    for ours, theirs in (([3.5, 2.0], [1.5, 1.0]), ([1.0], [0.0])):  # a share always has a width
        assert not compare_logs(log_of(ours), log_of(theirs), confidence=0.95).notes


SCORES = st.sampled_from([0.0, 1.0]) | st.floats(-5, 5).map(lambda x: round(x, 2))


@settings(max_examples=50)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=12), st.integers(2, 4))
def test_prompts_that_are_there_under_several_ids_count_once(pairs, times):
    """A log in which all prompts are repeated says no more than one in which none is."""
    once = compared(*zip(*pairs, strict=True))
    logs = []
    for values in zip(*pairs, strict=True):
        log = log_of([])
        for copy in range(times):
            for number, value in enumerate(values):
                log.add("sums", f"{copy}-{number}", Scored(str(number), "f"), {"acc": value})
        logs.append(log)
    found = compare_logs(*logs, confidence=0.95)
    (line,) = found.lines
    assert line.n == times * once.n
    for one, other in ((line.a, once.a), (line.b, once.b), (line, once)):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-6)
    assert line.p_value == once.p_value
    assert f"{line.n} prompts of task sums count as {once.n}" in " ".join(found.notes)
