"""Overrides: a person signs that an adapter may go on although a rule does not hold.

An override is a record in a file of mlflow/overrides, never a flag. It is about one rule, one
adapter, one evaluation and one policy, and it ends. The gate's files carry no dates, so whether it
has ended, or was withdrawn, is looked at whenever a decision is used: at registration, promotion
and rollback.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from components.core.documents import read_yaml
from components.core.errors import ConfigError, EvidenceError
from components.core.section import Section, explain
from components.core.storage import EVERYBODY, atomic_path, records_in
from components.core.untrusted_text import folded
from components.gate.result import LONGEST, Decision, Override

PAGE = "mlflow/overrides/README.md"


class Overrides(Section):
    """A file of overrides."""

    overrides: tuple[Override, ...] = Field(description="one record an override")


def read_overrides(folder: Path) -> list[Override]:
    """Return the records of every file in `folder`; raises `ConfigError` for one that is not valid,
    or has another ending.

    A folder that is not there holds none.
    """
    return [record for path in records_in(folder, ".yaml") for record in _read(path)]


def _read(path: Path) -> tuple[Override, ...]:
    try:
        return Overrides.model_validate(read_yaml(path)).overrides
    except ValidationError as error:
        problems = explain(error, page=PAGE)
        raise ConfigError(f"{path} is not a valid file of overrides:\n{problems}") from error


def apply_overrides(decision: Decision, overrides: Iterable[Override]) -> Decision:
    """Return a decision whose rules carry the overrides that count, and which says why others do
    not; its outcome is left as it is.

    Overrides of other adapters are left out, and one of a rule that passed changes nothing.
    """
    counting: dict[str, Override] = {}
    refused = []
    for override in overrides:
        if override.adapter != decision.adapter:
            continue
        if why := _why_refused(override, decision):
            about = f"the override of {override.rule!r} by {override.who}"
            refused.append(f"{about} does not count: {why}")
        else:
            counting[override.rule] = override
    rules = tuple(
        outcome
        if outcome.passed or outcome.rule not in counting
        else outcome.model_copy(update={"override": counting[outcome.rule]})
        for outcome in decision.rules
    )
    return decision.model_copy(update={"rules": rules, "refused": tuple(refused)})


def _why_refused(override: Override, decision: Decision) -> str | None:
    """Return why an override of a decision's adapter does not count; None where it does."""
    outcome = next((o for o in decision.rules if o.rule == override.rule), None)
    if outcome is None:
        names = ", ".join(repr(o.rule) for o in decision.rules if o.threshold is not None)
        return f"the policy has no such rule; its rules are {names}"
    if outcome.threshold is None:
        return "it is a check of the evidence, and what the evidence is about cannot be overridden"
    if outcome.figure is None and not outcome.impossible:
        return "there is no evidence, and what nobody knows cannot be overridden"
    for what, signed, now in (
        ("evaluation", override.evidence, decision.evidence),
        ("policy", override.policy, decision.policy),
    ):
        if signed != now:
            return f"it is about the {what} {signed:.12}, this is {now:.12}"
    return None


def check_overrides(decision: Decision, folder: Path, today: date | None = None) -> None:
    """Raise `EvidenceError` where an override that the decision rests on has ended, has not begun,
    or is no longer in `folder` as it was; `today` is that of UTC.

    Raises `ConfigError` as `read_overrides` does, of a decision that rests on any.
    """
    used = [outcome.override for outcome in decision.rules if outcome.override]
    if not used:
        return
    today, current = today or datetime.now(UTC).date(), read_overrides(folder)
    problems = []
    for override in used:
        whose = f"that of {override.rule!r} by {override.who}"
        if override.until < today:
            problems.append(f"{whose} ended on {override.until}")
        elif override.signed > today:
            problems.append(f"{whose} is signed for {override.signed}, a day to come")
        elif override not in current:
            problems.append(f"{whose} was withdrawn or changed: it is not in mlflow/overrides")
    if problems:
        raise EvidenceError(
            f"the gate accepted adapter {decision.adapter:.12} with overrides that do not hold: "
            f"{'; '.join(problems)}; mend what the rule complains of, or sign again with "
            "`safereact override`"
        )


def add_override(
    path: Path,
    decision: Decision,
    *,
    rule: str,
    who: str,
    why: str,
    until: date,
    user: str = "",
    today: date | None = None,
) -> Override:
    """Write an override of a rule of `decision` into the file `path` and return it.

    `user` is whose credentials MLflow accepted; empty: nobody verified `who`. It takes the place of
    an earlier one of the same rule and adapter. Raises `ConfigError` for one that would not count:
    an unknown rule, one that passed, a check of the evidence, no evidence, no name or reason, a day
    that is past or more than a year away.
    """
    today = today or datetime.now(UTC).date()
    if not who.strip() or not why.strip():
        raise ConfigError(
            f"{rule!r} is not overridden: say who (--by, received {who!r}) and why (--why, "
            f"received {why!r})"
        )
    if not today <= until <= today + LONGEST:
        raise ConfigError(
            f"{rule!r} is not overridden: --until {until} must be a day from today, {today}, to "
            f"{today + LONGEST}"
        )
    override = Override(
        rule=rule,
        adapter=decision.adapter,
        evidence=decision.evidence,
        policy=decision.policy,
        who=folded(who),
        why=folded(why),
        signed=today,
        until=until,
        user=user,
    )
    refused = _why_refused(override, decision)
    if not refused and any(o.rule == rule and o.passed for o in decision.rules):
        refused = "it passed, so there is nothing to override"
    if refused:
        raise ConfigError(f"{rule!r} is not overridden: {refused}")
    _write(path, override)
    return override


def _write(path: Path, override: Override) -> None:
    """Put the record into the file, whose other records and comments stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 100
    document: dict[str, Any] = {"overrides": []}
    if path.is_file():
        _read(path)
        document = yaml.load(path.read_text(encoding="utf-8"))
    records = document["overrides"]
    same = (override.rule, override.adapter)
    for place in reversed(range(len(records))):
        if (records[place]["rule"], records[place]["adapter"]) == same:
            del records[place]
    records.append(override.model_dump())
    with atomic_path(path, mode=EVERYBODY) as scratch, scratch.open("w", encoding="utf-8") as out:
        yaml.dump(document, out)
