"""Six calls at once and then the emergency brake, on the embedded store and on a real server."""

from __future__ import annotations

from itertools import pairwise

import pytest

from components.registry.changes import WITHDRAWN, chain_of, champions
from components.registry.history import check_history
from components.registry.mlflow_registry import CHAMPION, Registry
from components.registry.promotion import promote, withdraw
from tests.racing import (
    RACERS,
    promote_at_once,
    racers,
    register_at_once,
    rollback_at_once,
    withdraw_at_once,
)
from tests.releases import finished_profile, name_model, write_all

NAMES = {"name": "raced", "experiment": "races"}


def race(pool, call, *arguments) -> list[str]:
    """Return the refusals of six calls at once, of which at least one succeeds."""
    calls = [pool.submit(call, *arguments, f"racer {i}") for i in range(RACERS)]
    refusals = [refusal for refusal in (one.result() for one in calls) if refusal]
    assert all("meanwhile" in refusal for refusal in refusals), refusals
    assert len(refusals) < RACERS, refusals
    return refusals


def race_and_brake(pool, registry: Registry, version: str) -> None:
    """Promote one version six times at once, and take it back six times at once."""
    name = NAMES["name"]
    before = champions(chain_of(registry.model(name).tags).changes)
    race(pool, promote_at_once, registry.root, name, version)
    model = registry.model(name)
    assert champions(chain_of(model.tags).changes) == [*before, version]
    assert model.aliases[CHAMPION] == version
    written = len(chain_of(model.tags).changes)
    refused = race(pool, rollback_at_once, registry.root, name)
    model = registry.model(name)
    history = chain_of(model.tags).changes
    assert len(history) == written + RACERS - len(refused)
    assert model.aliases[CHAMPION] == history[-1].version != version
    stack = champions(history)
    assert all(below != above for below, above in pairwise(stack))


def race_to_withdraw(pool, registry: Registry, version: str) -> None:
    """Promote a version three times and withdraw it three times, all at once."""
    name = NAMES["name"]
    calls = [
        pool.submit(call, registry.root, name, version, f"racer {i}")
        for i, call in enumerate([promote_at_once, withdraw_at_once] * (RACERS // 2))
    ]
    refusals = [refusal for refusal in (one.result() for one in calls) if refusal]
    assert all("meanwhile" in one or "was withdrawn by" in one for one in refusals), refusals
    assert len(refusals) < RACERS, refusals
    chain = check_history(registry.model(name))  # whole, and the alias where it left it
    withdrawals = [one for one in chain.changes if one.event == WITHDRAWN]
    assert len(withdrawals) <= 1
    withdraw(registry, name, version, by="ann", why="after the race")
    model = registry.model(name)
    check_history(model)
    assert version not in model.aliases.values()
    assert sum(one.event == WITHDRAWN for one in chain_of(model.tags).changes) == 1


def run_races(workspace, environment, rounds: int) -> None:
    """Register six adapters at once each, then race as often as `rounds` says."""
    name_model(workspace, NAMES["name"])
    with racers(environment) as pool:
        for number in (1, 2, 3):
            write_all(workspace, weight=number)
            calls = [pool.submit(register_at_once, workspace, NAMES) for _ in range(RACERS)]
            made = [one.result() for one in calls]
            registry = Registry(workspace.root)
            (there,) = {version for version, _ in made}
            assert registry.numbers(NAMES["name"])[-1] == there
            assert len(registry.numbers(NAMES["name"])) == number
            assert sum(new for _, new in made) == 1
            registry = Registry(workspace.root)
        numbers = registry.numbers(NAMES["name"])
        for number in numbers[:-1]:
            promote(registry, NAMES["name"], number, by="ann", why="before")
        for _ in range(rounds):
            race_and_brake(pool, registry, numbers[-1])
            if len(champions(chain_of(registry.model(NAMES["name"]).tags).changes)) == 1:
                promote(registry, NAMES["name"], numbers[1], by="ann", why="before")
        race_to_withdraw(pool, registry, numbers[-1])


ROUNDS = 6


@pytest.mark.slow
def test_six_at_once_in_the_embedded_store(workspace):
    run_races(workspace, {}, ROUNDS)


@pytest.mark.slow
def test_six_at_once_on_a_server(tmp_path, tracking_server, monkeypatch):
    environment = tracking_server.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run_races(finished_profile(tmp_path), environment, ROUNDS)
