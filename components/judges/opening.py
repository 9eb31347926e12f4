"""From a judge's name and a profile's settings to the judge."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from components.core.errors import ConfigError
from components.core.http import is_address
from components.core.vocabulary import Role
from components.judges.formats import FORMATS
from components.judges.protocol import KEY, URL, Judge
from components.judges.result import Usage
from components.judges.rules.judge import RulesJudge
from components.judges.settings import RULES, JudgeSettings, RubricSettings, RulesSettings


def check_judge(name: str, judges: Mapping[str, JudgeSettings], roles: Collection[Role]) -> None:
    """Raise `ConfigError` where the profile has no judge `name`, or it cannot judge suites of one
    of the `roles`. Loads nothing, so it can be asked before anything is computed."""
    if name == RULES:
        return
    if name not in judges:
        raise ConfigError(
            f"unknown judge {name!r}; there are {', '.join((RULES, *sorted(judges)))} "
            "(evaluate.judges of the profile)"
        )
    settings = judges[name]
    if isinstance(settings, RubricSettings):
        return
    if odd := sorted(set(roles) - FORMATS[settings.kind].roles):
        raise ConfigError(
            f"the judge {name!r} is a {settings.kind}, which tells harm and not refusals, so it "
            f"cannot judge {', '.join(odd)} suites; give them `{RULES}`, or a judge of kind "
            "wildguard or rubric"
        )


def open_judge(
    name: str,
    judges: Mapping[str, JudgeSettings],
    *,
    rules: RulesSettings,
    roles: Collection[Role] = (),
    asked: Usage | None = None,
) -> Judge:
    """Return the judge that suites of the `roles` call `name`, without its weights.

    `rules` are the patterns of the judge of that name, and of guards that know no refusals; `asked`
    is what killed processes asked of a paid service for the same evaluation. Raises `ConfigError`
    where `check_judge` does and where the environment lacks a server's address, `ModelError` where
    a guard's checkpoint cannot be had.
    """
    check_judge(name, judges, roles)
    if name == RULES:
        return RulesJudge(rules.refusal_patterns, rules.compliance_pattern)
    settings = judges[name]
    if isinstance(settings, RubricSettings):
        return _open_rubric(name, settings, asked or Usage())
    from components.judges.guards import open_guard

    return open_guard(
        FORMATS[settings.kind],
        kind=settings.kind,
        label=name,
        model=settings.model,
        revision=settings.revision,
        batch=settings.batch,
        max_characters=settings.max_characters,
        refusal_patterns=rules.refusal_patterns,
    )


def _open_rubric(name: str, settings: RubricSettings, asked: Usage) -> Judge:
    from components.judges.endpoint import Endpoint
    from components.judges.rubric import Rubric

    endpoint = Endpoint(
        url=_address(name),
        key=os.environ.get(KEY, "").strip(),
        label=name,
        timeout=settings.timeout,
        attempts=settings.attempts,
        requests_a_minute=settings.requests_a_minute,
        max_requests=settings.max_requests,
        prompt_price=settings.prompt_price,
        completion_price=settings.completion_price,
        spent=asked,
    )
    return Rubric(
        endpoint,
        model=settings.model,
        temperature=settings.temperature,
        answer_tokens=settings.answer_tokens,
        max_characters=settings.max_characters,
        concurrency=settings.concurrency,
    )


def _address(name: str) -> str:
    """Return the server's address from the environment, where its secrets may be, too."""
    url = os.environ.get(URL, "").strip().rstrip("/")
    if not is_address(url):
        state = "is no http(s) address" if url else "is not set"
        raise ConfigError(
            f"the judge {name!r} needs a server, and {URL} {state}; set it to the base of an "
            f"OpenAI-compatible API, such as http://localhost:8000/v1, and {KEY} to its key if it "
            "asks for one"
        )
    return url
