"""The model card: figures with n and interval, lineage, limits, code that loads the adapter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from components.core.vocabulary import UNBOUND
from components.prepare.result import LEAK_MARK, SourceCount
from components.registry.looks import Look, Looked
from components.registry.measured import parameters_of
from components.registry.release import Release, summarise, write_card
from tests.evidence import leak
from tests.hostile import TOGETHER, steering
from tests.root import ROOT


def card_of(release: Release, *, name: str, before: tuple[Look, ...] = ()) -> str:
    """Return the card of a release whose decision is the look behind those `before`."""
    looked = Looked(len(before) + 1, before)
    return write_card(release, name=name, looked=looked, root=ROOT)


def kinds(card: str) -> Counter[str]:
    """Return how many elements of each kind, but for text and rows, a card holds."""
    tokens = MarkdownIt("commonmark").enable("table").parse(card.split("---\n", 2)[2])
    every = [*tokens, *(child for token in tokens for child in token.children or ())]
    found = Counter(token.type for token in every if token.nesting >= 0)
    return Counter({kind: n for kind, n in found.items() if kind not in ("text", "softbreak")})


def test_what_strangers_say_stays_text_in_the_card(release):
    benign = release
    ref = benign.models.post_trained.model_copy(
        update={"where": "hub", "location": TOGETHER, "revision": TOGETHER}
    )
    models = benign.models.model_copy(update={"lineage": TOGETHER, "post_trained": ref})
    source = SourceCount(
        name=TOGETHER, licence="MIT", digest="5" * 64, read=9, kept=8, quarantined=1
    )
    contract = benign.decision.contract.model_copy(update={"generation_prefix": TOGETHER})
    rules = [
        rule.model_copy(update={"rule": TOGETHER, "why": TOGETHER})
        for rule in benign.decision.rules
    ]
    hostile = replace(
        benign,
        models=models,
        prompts=benign.prompts.model_copy(update={"sources": (source,)}),
        decision=benign.decision.model_copy(update={"contract": contract, "rules": tuple(rules)}),
    )
    card = card_of(hostile, name=f"demo {TOGETHER}")
    assert kinds(card) == kinds(card_of(benign, name="demo"))
    assert steering(card) == []
    front = YAML(typ="safe").load(card.split("---\n", 2)[1])
    assert front["tags"] == ["safety", "lora", "safereact"]
    keys = {"library_name", "base_model", "tags", "pipeline_tag", "model-index"}
    assert set(front) == keys
    summary = kinds(f"---\n---\n{summarise(hostile)}")
    assert set(summary) == {"paragraph_open", "inline"}
    assert steering("".join(hostile.tags().values())) == []


def test_the_card_has_figures_lineage_and_how_to_load(release):
    card = card_of(release, name="demo-safety")
    assert "95.0 % [88.8, 97.8], n = 100" in card
    assert r"made \| up" in card
    assert "PeftModel.from_pretrained" in card and "safereact pull demo-safety@champion" in card
    for key in ("adapter\\_digest", "git\\_commit", "dvc\\_train"):
        assert key in card
    for line in (line for line in card.splitlines() if line.startswith("| harmful.")):
        assert line.replace(r"\|", "").count("|") == 6


def test_the_summary_names_the_checkpoint_and_the_figures(release):
    summary = summarise(release)
    assert "artifacts/demo/models/post-trained" in summary
    assert "harmful.refused 95.0 % [88.8, 97.8], n = 100" in summary


def test_what_nobody_measured_has_no_row(release):
    card = card_of(release, name="demo-safety")
    assert ".forced_thought." not in card and "| – |" not in card


def test_the_card_names_who_wrote_the_completions_and_what_is_to_be_read(release):
    calm = tuple(rule.model_copy(update={"warns": False}) for rule in release.decision.rules)
    calm = replace(release, decision=release.decision.model_copy(update={"rules": calm}))
    card = card_of(calm, name="demo-safety")
    assert release.tags()["engine"] == "transformers"
    assert "completions were written by transformers.\n" in card and "read why" not in card
    rules = tuple(rule.model_copy(update={"warns": True}) for rule in release.decision.rules)
    served = replace(
        release,
        evidence=release.evidence.model_copy(update={"engine": f"openai, {UNBOUND}"}),
        decision=release.decision.model_copy(update={"rules": rules}),
    )
    card = card_of(served, name="demo-safety")
    assert served.tags()["engine"] == "openai, unbound"
    assert "written by openai, unbound: a server does not show which weights" in card
    assert card.count("| pass, read why |") == len(rules)


def test_a_suite_that_training_held_has_marked_rates_in_card_and_summary(release):
    assert LEAK_MARK not in card_of(release, name="demo-safety") + summarise(release)
    leaks = (leak("harmful", "run", 3, dropped=5), leak("elsewhere", "run", 3, dropped=5))
    release = replace(release, prompts=release.prompts.model_copy(update={"leaks": leaks}))
    card = card_of(release, name="demo-safety")
    for line in (line for line in card.splitlines() if line.startswith("| harmful.")):
        assert line.count(f"%{LEAK_MARK} [") == line.count("n = ") > 0
    for line in (line for line in card.splitlines() if line.startswith("| benign.")):
        assert LEAK_MARK not in line
    note = "† harmful: training as it came repeated 3 of 300 prompts; 5 training rows were dropped"
    assert card.count(note) == 1 and "elsewhere" not in card
    assert kinds(card)["table_open"] == 4
    summary = summarise(release)
    assert "harmful.refused 95.0 %† [88.8, 97.8], n = 100" in summary and note in summary


def test_card_and_parameters_name_the_method(release):
    ours = card_of(release, name="demo-safety")
    assert "by\nrepresentation alignment (SafeReAct, arXiv 2604.00012) and accepted by" in ours
    adapter = release.adapter.model_copy(update={"method": "sft"})
    adapter._folder = release.adapter.folder
    other = replace(release, adapter=adapter)
    card = card_of(other, name="demo-safety")
    assert "by\nthe method sft and accepted by" in card and "SafeReAct" not in card
    assert parameters_of(other.settings, adapter)["method"] == "sft"
