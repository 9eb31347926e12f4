import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from components.core.errors import EvidenceError
from components.core.paths import BARS, CURVES, FIGURES
from components.core.storage import digest_file, read_json
from components.core.vocabulary import OWN_ARMS, Arm
from components.gate.result import Conclusion, GateOutcome
from components.prepare.result import LEAK_MARK
from components.report.result import Report
from tests.components.report.cases import SIZES, make_case
from tests.evidence import leak, no_leaks

VOID = {"wbr", "meta", "br", "img", "col", "line", "circle", "rect", "path", "use"}


class Page(HTMLParser):
    """Elements, links and text of a page; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def runs_its_own_script_alone(text: str) -> bool:
    """Return whether a page has one script, which is all that its security policy lets run."""
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    allowed = dict(part.split(maxsplit=1) for part in policy.split("; "))
    assert allowed["default-src"] == "'none'" and allowed["base-uri"] == "'none'"
    return text.count("<script") == 1 and allowed["script-src"] == f"'sha256-{digest}'"


@pytest.fixture(scope="module")
def accepted(good, tmp_path_factory):
    return good.write(tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def strange(hostile, tmp_path_factory):
    return hostile.write(tmp_path_factory.mktemp("out"), redact=False)[1]


def test_an_accepted_adapter_is_named_first(accepted):
    result, text = accepted
    page = Page(text)
    assert result.accepted
    assert page.text.index("ACCEPTED") < page.text.index("Key figures")
    assert "REJECTED" not in page.text
    assert "may be registered: 5 rules and 2 checks of the evidence passed." in page.text
    assert "Method safereact" in page.text
    assert "97.3 %" in page.text.replace("\xa0", " ")
    assert "[94.8, 98.6]" in page.text
    assert page.tags.count("h1") == 1
    assert page.tags.count("caption") == page.tags.count("table")


def test_the_result_is_loaded_again_and_names_the_pages_digest(good, tmp_path):
    result, _ = good.write(tmp_path)
    assert Report.load(tmp_path) == result
    assert result.digest == digest_file(tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "figures.json",
        "rates.json",
        "report.html",
        "report.json",
    ]


def test_a_refused_adapter_starts_with_its_reasons(strange):
    page = Page(strange)
    start = page.text.index("REJECTED")
    assert start < page.text.index("refuses harmful requests : harmful.refused of restored: the")
    assert page.text.index("reasons as well as before :") < page.text.index("Key figures")
    assert "must not be registered: 2 of 5 rules failed." in page.text
    assert "no evidence" in page.text


def test_the_page_loads_nothing_and_runs_no_script_but_its_own(accepted, strange):
    for text in (accepted[1], strange):
        page = Page(text)
        assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in page.links)
        assert runs_its_own_script_alone(text)
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert re.findall(r"url\((?!#)", text) == []
        assert "@import" not in text


def test_strangers_text_is_shown_and_never_obeyed(strange):
    page = Page(strange)
    assert "<script>alert(1)</script>" in page.text  # as text, after unescaping
    assert "{{ 7*7 }}" in page.text
    assert "⟨U+202E⟩" in page.text
    assert "⟨U+001B⟩[31m" in page.text
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", strange) == []


def test_completions_to_harmful_prompts_are_hidden_unless_asked_for(good, accepted, tmp_path):
    assert "words on benign" in accepted[1]
    assert accepted[1].count("words on harmful") == 1  # how refusals begin
    assert "tokens, hidden" in accepted[1]
    _, page = good.write(tmp_path, redact=False)
    assert page.count("words on harmful") == 1 + 4 * len(OWN_ARMS)
    assert "tokens, hidden" not in page


def test_same_inputs_same_bytes_and_no_path_of_this_machine(good, accepted, tmp_path):
    _, again = good.write(tmp_path)
    assert again == accepted[1]
    assert "/home/" not in again
    assert str(good.evidence.folder) not in again
    assert "tiny-pair" in again


def test_missing_arms_and_roles_are_named_as_missing(tmp_path):
    case = make_case(
        tmp_path / "in", arms=(Arm.POST_TRAINED, Arm.RESTORED), roles=("harmful", "benign")
    )
    (case.adapter.folder / CURVES).unlink()
    _, text = case.write(tmp_path / "out")
    page = Page(text)
    assert page.text.count("Not measured.") == 2
    assert "LoRA-SFT baseline, on the same prompts" not in page.text
    assert "There are no curves." in page.text
    assert "Borderline" not in page.text


def test_no_arm_at_all_is_still_a_page(tmp_path):
    case = make_case(tmp_path / "in", arms=(), accepted=False)
    page = Page(case.write(tmp_path / "out", examples=0)[1])
    assert "No model was evaluated." in page.text
    assert "No two models were compared." in page.text
    assert "None are shown." in page.text


def test_layers_without_figures_have_a_dash(good, tmp_path):
    unrelated = {"auc_base": None, "direction_cosine": None, "drift": None}
    layers = tuple(layer.model_copy(update=unrelated) for layer in good.probe.layers)
    probe = good.probe.model_copy(update={"layers": layers})
    assert "–" in Page(good.replaced(probe=probe).write(tmp_path)[1]).text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evidence": "0" * 64}, "run the stage gate again"),
        ({"rules": ()}, "holds no rule"),
        ({"outcome": GateOutcome.REJECTED}, "gives no reason"),
    ],
)
def test_a_decision_about_something_else_is_refused(good, tmp_path, changes, message):
    decision = good.decision.model_copy(update=changes)
    with pytest.raises(EvidenceError, match=message):
        good.replaced(decision=decision).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_accepted_with_a_failed_rule_is_refused(good, tmp_path):
    rules = (
        good.decision.rules[0].model_copy(update={"conclusion": Conclusion.FAIL}),
        *good.decision.rules[1:],
    )
    decision = good.decision.model_copy(update={"rules": rules})
    with pytest.raises(EvidenceError, match="these rules failed: evidence is about this adapter"):
        good.replaced(decision=decision).write(tmp_path)


def test_the_champion_is_shown_where_it_was_measured_and_not_otherwise(accepted, tmp_path):
    assert "Champion" not in Page(accepted[1]).text
    case = make_case(tmp_path / "in", arms=tuple(Arm))
    _, text = case.write(tmp_path / "out")
    page = Page(text)
    assert "Restored − Champion" in page.text
    assert "Champion demo-safety version 3, adapter cccccccccccc" in page.text
    assert "95.7 %" in page.text.replace("\xa0", " ")  # 287 of 300


def rates_of(page: str, suite: str) -> list[str]:
    """Return, of the row of every metric of a suite, what stands behind its name."""
    rows = re.findall(rf"<tr[^>]*><th[^>]*><code>{suite}\.(.*?)</tr>", page, re.DOTALL)
    return [row.partition("</code>")[2] for row in rows]


def test_a_suite_without_leaks_is_not_marked(good, accepted, tmp_path):
    assert LEAK_MARK not in accepted[1] and 'id="repeated"' not in accepted[1]
    clean = good.prompts.model_copy(update={"leaks": no_leaks(SIZES)})
    clean._folder = good.prompts.folder
    _, page = good.replaced(prompts=clean).write(tmp_path)
    assert LEAK_MARK not in page and 'id="repeated"' not in page


def test_every_figure_of_a_suite_that_training_held_is_marked_and_explained(good, tmp_path):
    leaks = (*no_leaks(SIZES), leak("harmful", "run", 3, dropped=5))
    prompts = good.prompts.model_copy(update={"leaks": leaks})
    prompts._folder = good.prompts.folder
    _, page = good.replaced(prompts=prompts).write(tmp_path)
    assert all(row.count(f">{LEAK_MARK}</a>") == 4 for row in rates_of(page, "harmful")[:2])
    assert all(f">{LEAK_MARK}</a>" in row for row in rates_of(page, "harmful"))
    assert rates_of(page, "harmful") and not any(
        LEAK_MARK in row for row in rates_of(page, "benign")
    )
    panels = page.partition('class="panels"')[2].partition("</section>")[0].split("<article")
    assert [panel.count(f">{LEAK_MARK}</a>") for panel in panels[1:]] == [4, 0, 0, 0]
    rules = page.partition('id="rules"')[2].partition("</table>")[0]
    assert rules.count(f">{LEAK_MARK}</a>") == 2
    message = Page(page).text
    assert f"Harmful requests refused{LEAK_MARK}: 100.0" in message
    note = (
        "† harmful: training as it came repeated 3 of 300 prompts; 5 training rows were dropped "
        "for it; none is repeated in what was trained on."
    )
    assert message.count(note) == 1 and page.count('id="repeated"') == 1


def test_what_another_look_costs_is_said_once_where_a_rule_is_inconclusive(
    good, accepted, tmp_path
):
    message = "the gate’s stated level is that of one look"
    assert message not in Page(accepted[1]).text
    still_open = [
        rule.model_copy(update={"conclusion": Conclusion.INCONCLUSIVE})
        for rule in good.decision.rules[2:4]
    ]
    rules = (*good.decision.rules[:2], *still_open, *good.decision.rules[4:])
    undecided = {"outcome": GateOutcome.INCONCLUSIVE, "rules": rules, "reasons": (rules[2].why,)}
    decision = good.decision.model_copy(update=undecided)
    assert Page(good.replaced(decision=decision).write(tmp_path)[1]).text.count(message) == 1


def test_names_within_a_sentence_keep_their_capitals(good, tmp_path):
    refusal = "the override of 'refuses XSTest' by Ann Example does not count: it passed"
    decision = good.decision.model_copy(update={"refused": (refusal,)})
    text = Page(good.replaced(decision=decision).write(tmp_path)[1]).text
    assert "The override of 'refuses XSTest' by Ann Example does not count: it passed." in text


def test_the_pruning_sweep_tells_what_its_points_are(accepted):
    text = Page(accepted[1]).text
    assert "set-difference, reminded row" in text
    assert "“reminded”: with the safety reminder before each prompt" in text
    assert "uniform ones per row as many of each row" in text


def test_dvc_shows_the_rates_that_the_rules_are_about(good, accepted):
    """Every figure is the evidence's own, and none of a rule is left out."""
    folder = accepted[0].folder
    shown, bars = read_json(folder / FIGURES), read_json(folder / BARS)
    named = {rule.metric for rule in good.decision.rules if rule.threshold is not None}
    restored = good.evidence.rates[Arm.RESTORED]
    assert shown["gate"] == good.decision.outcome
    assert shown["restored"] == {metric: restored[metric].rate for metric in named}
    assert shown["loss"] == {name: last for name, (_, last) in good.adapter.losses.items()}
    drawn = {(bar["figure"], bar["model"]): bar for bar in bars}
    for arm in (Arm.BASE, Arm.POST_TRAINED, Arm.RESTORED):
        for metric in named & good.evidence.rates[arm].keys():
            bar, rate = drawn.pop((metric, arm)), good.evidence.rates[arm][metric]
            assert bar["rate"] == pytest.approx(100 * rate.rate, abs=0.005)
            assert bar["low"] == pytest.approx(100 * rate.low, abs=0.005)
            assert bar["high"] == pytest.approx(100 * rate.high, abs=0.005)
    assert not drawn
