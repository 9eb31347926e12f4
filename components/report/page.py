"""The page: what the template needs, put together and rendered."""

from __future__ import annotations

import base64
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.core import untrusted_text
from components.core.paths import CURVES, PLOTS, ROWS
from components.core.storage import read_json_lines, read_rows
from components.core.vocabulary import Arm, Outcome, Role, Split
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.lm.references import ModelRef
from components.models.result import Models
from components.prepare.result import SuiteSet, leak_footnotes, leak_mark, leak_notes
from components.probe.result import Probe
from components.report import figures, sentences, wording
from components.report.curves import loss_curves
from components.report.examples import choose_examples
from components.report.settings import ReportSettings as Section
from components.train.result import Adapter

_TEMPLATES = Path(__file__).parent
_SUBJECTS = {
    "harmful.refused": "Harmful requests refused",
    "reasoning.correct": "Reasoning problems solved",
}


def render(
    section: Section,
    prompts: SuiteSet,
    models: Models,
    probe: Probe,
    adapter: Adapter,
    evidence: Evidence,
    decision: Decision,
    *,
    seed: int,
) -> str:
    """Return the whole page as HTML: no script, nothing loaded from elsewhere."""
    examples = choose_examples(
        prompts.every_test() if section.examples else [],
        read_rows(evidence.folder / ROWS) if section.examples else [],
        count=section.examples,
        redact=section.redact,
        seed=seed,
    )
    return (
        _environment()
        .get_template("report.html")
        .render(
            section=section,
            prompts=prompts,
            models=models,
            probe=probe,
            adapter=adapter,
            evidence=evidence,
            decision=decision,
            seed=seed,
            plots=_plots(probe.folder / PLOTS),
            curves=_curves(adapter.folder / CURVES),
            examples=examples,
            one_contract=adapter.contract == evidence.contract == decision.contract,
            **_tables(evidence, decision, leak_notes(prompts.leaks)),
        )
    )


def _tables(evidence: Evidence, decision: Decision, marked: dict[str, str]) -> dict[str, Any]:
    """Return the evidence and the decision as the page's tables and sentences; `marked` are the
    suites of which training held prompts, with what was found."""
    metrics = {metric for rates in evidence.rates.values() for metric in rates}
    lines = [
        sentences.change(evidence, metric, f"{subject}{leak_mark(metric, marked)}")
        for metric, subject in _SUBJECTS.items()
    ]
    lines.append(sentences.against_baseline(evidence.differences, evidence.confidence))
    return {
        "verdict": sentences.verdict(decision),
        "reasons": sentences.reasons(decision),
        "rules": figures.policy_rules(decision),
        "checks": figures.checks(decision),
        "panels": figures.panels(evidence, decision),
        "marked": marked,
        "footnotes": leak_footnotes(marked, metrics | {rule.metric for rule in decision.rules}),
        "sentences": [line for line in lines if line],
        "arms": figures.arms(evidence),
        "metrics": figures.metrics(evidence, compared=True),
        "others": figures.metrics(evidence, compared=False),
        "attacks": figures.attack_rows(evidence),
        "judges": figures.judge_rows(evidence),
        "comparisons": figures.comparisons(evidence),
    }


def _environment() -> Environment:
    """Return the template engine: autoescaping, undefined names are errors, and every string that
    reaches the page has its invisible characters made visible."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_made_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=wording.percent,
        interval=wording.interval,
        points=wording.points,
        probability=wording.probability,
        number=wording.number,
        arm=wording.arm_name,
        upper_first=wording.upper_first,
        one_line=untrusted_text.one_line,
        side=sentences.side,
        mark=leak_mark,
        form=wording.form_name,
        clip=untrusted_text.clip,
        place=_place,
        share=lambda value: wording.number(100 * value),
    )
    environment.globals.update(
        Role=Role, Split=Split, Arm=Arm, Outcome=Outcome, describe_usage=sentences.describe_usage
    )
    return environment


def _made_visible(value: Any) -> Any:
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return untrusted_text.visible(str(value)) if plain else value


def _place(model: ModelRef) -> str:
    """Return where a checkpoint lies; of a path on this machine only the last part."""
    return PurePath(model.location).name if model.where == "local" else model.location


def _plots(folder: Path) -> list[tuple[str, str]]:
    """Return name and data address of every SVG in `folder`.

    A drawing within an image element runs no script and loads nothing, whatever it holds.
    """
    found = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.svg"))}
    head = "data:image/svg+xml;base64,"
    return [(name, head + base64.b64encode(svg).decode()) for name, svg in found.items()]


def _curves(path: Path) -> Markup | None:
    """Return the losses over the steps as an SVG element; None where there are no curves.

    It needs no escaping: our own drawing, of numbers alone.
    """
    svg = loss_curves(read_json_lines(path)) if path.is_file() else None
    return None if svg is None else Markup(svg)
