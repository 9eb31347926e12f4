"""From a judge's name and a profile's settings to the judge, and to the digest of what decides."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from components.core import typography
from components.core.errors import ConfigError
from components.core.fingerprints import digest_code, outside_parts
from components.core.storage import digest_bytes, digest_file
from components.core.vocabulary import Role
from components.judges.formats import FORMATS
from components.judges.protocol import EVERY_ROLE, JUDGES, KEY, URL, Judge, JudgeSetup
from components.judges.result import Usage
from components.judges.settings import (
    RULES,
    GuardSettings,
    JudgeSettings,
    RubricSettings,
    RulesSettings,
)

_FOLDER = Path(__file__).parent


@JUDGES.register(RULES)
def _rules(setup: JudgeSetup) -> Judge:
    from components.judges.rules.judge import RulesJudge

    return RulesJudge(setup.rules.refusal_patterns, setup.rules.compliance_pattern)


def _guard(setup: JudgeSetup) -> Judge:
    from components.judges.guards import open_guard

    assert isinstance(setup.settings, GuardSettings)
    return open_guard(setup.settings, setup.label, setup.rules.refusal_patterns)


for _kind in FORMATS:
    JUDGES.register(_kind)(_guard)


@JUDGES.register("rubric")
def _rubric(setup: JudgeSetup) -> Judge:
    from components.judges.rubric import Endpoint, Rubric

    assert isinstance(setup.settings, RubricSettings)
    key = os.environ.get(KEY, "").strip()
    endpoint = Endpoint(_address(setup.label), key, setup.label, setup.settings, setup.spent)
    return Rubric(endpoint, setup.settings)


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
    kind = judges[name].kind
    if kind in FORMATS and (odd := sorted(set(roles) - FORMATS[kind].roles)):
        raise ConfigError(
            f"the judge {name!r} is a {kind}, which tells harm and not refusals, so it "
            f"cannot judge {', '.join(odd)} suites; give them `{RULES}`, or a judge of kind "
            "wildguard or rubric"
        )


def open_judge(
    name: str,
    judges: Mapping[str, JudgeSettings],
    *,
    rules: RulesSettings,
    roles: Collection[Role] = (),
    spent: Usage | None = None,
) -> Judge:
    """Return the judge that suites of the `roles` call `name`, without its weights.

    The other arguments are those of `JudgeSetup`. Raises `ConfigError` where `check_judge` does,
    where the environment lacks a server's address, and for an added judge that does not judge every
    role; `ModelError` where a guard's checkpoint cannot be had.
    """
    check_judge(name, judges, roles)
    kind = RULES if name == RULES else judges[name].kind
    judge = JUDGES.find(kind)(JudgeSetup(name, judges.get(name), rules, spent or Usage()))
    if kind not in FORMATS and (missing := sorted(EVERY_ROLE - judge.roles)):
        raise ConfigError(
            f"the judge {name!r} is a {kind}, which does not judge {', '.join(missing)} prompts; a "
            "judge that another package adds has to judge every role"
        )
    return judge


def _address(name: str) -> str:
    """Return the server's address from the environment, where its secrets may be, too."""
    from components.core.http import is_address  # loads an HTTP client

    url = os.environ.get(URL, "").strip().rstrip("/")
    if not is_address(url):
        state = "is no http(s) address" if url else "is not set"
        raise ConfigError(
            f"the judge {name!r} needs a server, and {URL} {state}; set it to the base of an "
            f"OpenAI-compatible API, such as http://localhost:8000/v1, and {KEY} to its key if it "
            "asks for one"
        )
    return url


def digest_of_judge(
    judges: Mapping[str, JudgeSettings], rules: RulesSettings, name: str
) -> str | None:
    """Return the SHA-256 of what decides a judge's verdicts, as far as it can be known without
    loading it; None for `rules` and for a name that no judge has.

    That is its settings, the rules, which tell refusals where a guard does not, and the code.
    """
    if (judge := judges.get(name)) is None:
        return None
    tables = [digest_file(f) for f in sorted(_FOLDER.rglob("*")) if f.suffix in (".yaml", ".md")]
    code = [digest_code(_FOLDER, Path(typography.__file__)), *tables]
    added = [part for part in outside_parts() if part[:2] == ["judges", judge.kind]]
    parts = [judge.deciding(), rules.deciding(), *code, *added]
    return digest_bytes(json.dumps(parts, sort_keys=True).encode())
