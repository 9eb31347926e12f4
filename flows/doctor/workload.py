"""How much an evaluation asks of every model and of its judges, before anything is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from components.core.vocabulary import OWN_ARMS, Form, Role
from components.evaluate.settings import EvaluateSettings
from components.prepare.suites import Suite
from components.profile import Profile

# Prompts may be as long as the profile allows; on average they are short.
PROMPT_TOKENS = 100
_SHOTS_TOKENS = 600  # 16 short exchanges before a prompt
_SUITE_PROMPTS = 500  # of a suite without a limit: how many it has is seen when it is read


@dataclass(frozen=True, slots=True)
class Asked:
    """One suite's prompts in one form, as every arm is asked them."""

    role: Role
    judge: str  # `rules`, or one of evaluate.judges
    completions: int
    prompt: int  # tokens
    tokens: int  # of a completion, at most

    @property
    def longest(self) -> int:
        """Tokens of a prompt with its completion."""
        return self.prompt + self.tokens


def asked_of(profile: Profile, suites: Mapping[str, Suite]) -> list[Asked]:
    """Return what every arm is asked: the profile's own test prompts and `suites`, in all forms.

    `evaluate.forced_thought` counts as one form more, although with a template that opens the
    thought itself it is none.
    """
    evaluate = profile.evaluate
    found: list[Asked] = []
    for role, prompts in evaluate.prompts.items():
        judge = evaluate.judge_of(role)
        own = Asked(role, judge, prompts, PROMPT_TOKENS, evaluate.max_new_tokens[role])
        found += _in_all_forms(own, evaluate, samples=1)
    for suite in suites.values():
        prompts = suite.prompts or _SUITE_PROMPTS
        named = Asked(suite.role, suite.judge, prompts, PROMPT_TOKENS, suite.max_new_tokens)
        found += _in_all_forms(named, evaluate, samples=suite.samples, attacks=suite.attacks)
    return found


def arms_of(profile: Profile) -> int:
    """Return how many models are asked."""
    return len(OWN_ARMS) + profile.evaluate.champion


def _in_all_forms(
    plain: Asked, evaluate: EvaluateSettings, *, samples: int, attacks: tuple[Form, ...] = ()
) -> Iterator[Asked]:
    """Yield a suite's forms; `plain` counts its prompts, `attacks` are the suite's own."""
    for _ in range(2 if evaluate.forced_thought else 1):
        yield replace(plain, completions=plain.completions * samples)
    if plain.role is Role.HARMFUL:
        drawn = min(plain.completions, evaluate.attack_prompts) * samples
        for form in dict.fromkeys((*evaluate.attacks, *attacks)):
            before = _SHOTS_TOKENS if form is Form.MANY_SHOT else 0
            yield replace(plain, completions=drawn, prompt=plain.prompt + before)
