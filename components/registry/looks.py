"""The record of looks: every decision on an adapter's answers to test prompts, whatever it says.

An adapter that misses a bound by nothing is accepted in one look of forty, so how many looks there
were is part of what a verdict is worth. Each is kept where the registry is, refused ones too: as a
parameter of a run that belongs to the registered model's name. MLflow writes a parameter only once,
so the record is only ever added to, and of two calls that take the same number one goes on to the
next.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from components.core.errors import EvidenceError, RegistryError
from components.evaluate.result import Evidence
from components.gate.policy import Policy
from components.gate.result import Decision
from components.profile import Profile
from components.registry.mlflow_registry import Registry

PREFIX = "look."
OWNER = "safereact.looks_of"  # the tag of a run that holds the record of a registered model


@dataclass(frozen=True, slots=True)
class Look:
    """One decision on an adapter. Digests are SHA-256."""

    profile: str
    seed: int
    adapter: str
    prompts: str  # digest of the test prompts that were asked
    data: str  # digest of all prepared prompts
    evidence: str
    policy: str
    outcome: str
    when: str  # UTC, ISO 8601
    labels: str = ""  # digest of what people said of the completions; empty: nothing

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it another look: the same evidence with the same labels under the same policy
        is one."""
        return self.adapter, self.evidence, self.policy, self.labels


class Looked(NamedTuple):
    """A look among those that count with it: at the same test prompts, or of the same adapter."""

    number: int  # of the look among them, from 1 on
    before: tuple[Look, ...]

    @property
    def words(self) -> str:
        """The look's number, and what the looks before it found."""
        found = Counter(look.outcome for look in self.before)
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.items()))
        text = f"look {self.number} at these test prompts or of this adapter"
        return f"{text} (before: {told})" if told else text


def look_of(profile: Profile, decision: Decision, evidence: Evidence) -> Look:
    """Return the look that a decision on a profile's evidence is, taken now."""
    return Look(
        profile=profile.name,
        seed=profile.seed,
        adapter=decision.adapter,
        prompts=evidence.test_prompts,
        data=decision.data,
        evidence=decision.evidence,
        policy=decision.policy,
        outcome=str(decision.outcome),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        labels=decision.labels,
    )


def record_look(registry: Registry, name: str, experiment: str, look: Look) -> Looked:
    """Write a look into the record of the registered model `name`, once, and return its number.

    The model need not be there yet. Raises `RegistryError` where MLflow fails or an entry is
    damaged.
    """
    records = registry.runs(None, {OWNER: name})
    left_open = [run.id for run in records if run.open]  # by a call that was killed
    if not records:
        home = registry.experiment(experiment)
        about = (
            "A parameter for each decision on these test prompts, by which the gate counts looks; "
            "no training. Without it the count begins anew."
        )
        left_open = [registry.begin_run(home, f"looks of {name}", {OWNER: name}, about=about)]
    for run in left_open:
        registry.end_run(run, figures={}, parameters={}, tags={})
    while True:
        runs = _runs(registry, name)
        if found := _found(_read(registry, runs), look):
            return found
        taken = (key.removeprefix(PREFIX) for key in registry.claims(runs[0], PREFIX))
        number = 1 + max((int(one) for one in taken if one.isdecimal()), default=0)
        registry.claim(runs[0], f"{PREFIX}{number:06d}", json.dumps(asdict(look), sort_keys=True))


def find_look(registry: Registry, name: str, look: Look) -> Looked | None:
    """Return the number of a look in the record of `name`; None where it is not recorded."""
    return _found(_read(registry, _runs(registry, name)), look)


def looks_of(registry: Registry, name: str) -> list[Look]:
    """Return the looks in the record of the registered model `name`, in the order in which they
    were written; raises `RegistryError` where an entry is damaged."""
    return _read(registry, _runs(registry, name))


def check_plan(policy: Policy, looked: Looked) -> None:
    """Raise `EvidenceError` where a look is none of those that the policy plans."""
    if policy.looks is not None and looked.number > policy.looks:
        raise EvidenceError(
            f"{looked.words}: the policy plans {policy.looks}, and their errors add up to its "
            "level. Ask other test prompts (another data_seed, or new ones) of another adapter, or "
            "settle on more looks and a higher confidence before the next plan begins"
        )


def _runs(registry: Registry, name: str) -> list[str]:
    """Return the runs that hold the record of `name`, oldest first, in whatever experiment. There
    are two where two first looks came at once; both are read."""
    return [run.id for run in reversed(registry.runs(None, {OWNER: name}))]


def _read(registry: Registry, runs: Sequence[str]) -> list[Look]:
    """Return the looks in the record in the order in which they were written, each once.

    Looks are added to the oldest run, so what another holds came before. No clock orders them:
    machines differ in theirs.
    """
    looks: dict[tuple[str, ...], Look] = {}
    for run in reversed(runs):
        for key, value in sorted(registry.claims(run, PREFIX).items()):
            look = _decoded(value, f"{key} of run {run}")
            looks.setdefault(look.identity, look)
    return list(looks.values())


def _decoded(value: str, where: str) -> Look:
    try:
        look = Look(**json.loads(value))
    except (TypeError, ValueError) as error:
        raise RegistryError(f"{where} is damaged: {error}") from error
    texts = asdict(look) | {"seed": str(look.seed)}
    if odd := [key for key, one in texts.items() if not isinstance(one, str)]:
        raise RegistryError(f"{where} is damaged: {odd[0]} is {texts[odd[0]]!r:.40}, no text")
    return look


def _found(looks: Sequence[Look], look: Look) -> Looked | None:
    """Return a look among those that count with it; None where it is none of `looks`."""
    place = next((i for i, one in enumerate(looks) if one.identity == look.identity), None)
    if place is None:
        return None
    *earlier, last = looks[: place + 1]
    before = [one for one in earlier if last.prompts == one.prompts or last.adapter == one.adapter]
    return Looked(len(before) + 1, tuple(before))
