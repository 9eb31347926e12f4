"""One watch of a profile's champion: measured again, recorded as a look and in the registry."""

from __future__ import annotations

import logging
import tempfile
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.environment import settle_environment
from components.core.fingerprints import Code
from components.core.paths import ROWS, Workspace
from components.core.storage import digest_bytes, digest_file, resumable_folder
from components.core.untrusted_text import for_terminal
from components.evaluate.result import Evidence
from components.prepare.result import SuiteSet
from flows.runner.dvc import bring_up_to_date
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile

if TYPE_CHECKING:
    from components.profile import Profile
    from components.registry.current import Current
    from components.registry.mlflow_registry import Registry
    from components.studies.watch.result import Watch

log = logging.getLogger(__name__)
_STAGES = ("prepare",)  # so that suites which are new or changed are asked


def watch_once(
    workspace: Workspace, *, production: Path | None, upstream: bool, waits: bool = False
) -> Watch:
    """Return what a watch of the profile's champion found, after recording it.

    `production` is a file of prompts and completions; with `upstream` the hub is asked for the
    commits of the pair. What works in the repository is waited for where it `waits`. Raises
    `RegistryError` where there is no champion, or the registry does not answer, and `ModelError`
    where its model is another one than was evaluated.
    """
    settle_environment()
    check_profile(workspace, _STAGES)
    what = f"watch {workspace.profile}"
    with one_run(workspace.root, what, waits=waits), chdir(workspace.root):
        bring_up_to_date(workspace, _STAGES)
        from components.registry.current import Current
        from components.registry.mlflow_registry import Registry

        registry, current = Registry(workspace.root), Current.of(workspace)
        found = _measured(workspace, current, registry, production, upstream=upstream)
        _record(registry, current.profile, found)
    return found


def _measured(
    workspace: Workspace,
    current: Current,
    registry: Registry,
    production: Path | None,
    *,
    upstream: bool,
) -> Watch:
    from components.registry.answering import bring_version
    from components.registry.mlflow_registry import CHAMPION
    from components.registry.watches import first_figures
    from components.studies.watch.measuring import changed_models, watch_champion

    profile, name = current.profile, current.profile.registration.name
    with tempfile.TemporaryDirectory() as scratch:
        champion = bring_version(registry, name, CHAMPION, Path(scratch, "champion"))
        log.info("[%s] %s", "watch", f"{name} version {champion.number}")
        notes = changed_models(champion.models, workspace.stage("models"), ask_hub=upstream)
        about = (champion.evidence.adapter, digest_file(production) if production else None)
        key = digest_bytes(f"{about} {Code().fingerprint(watch_champion.__module__)}".encode())
        with resumable_folder(workspace.checks.with_name("watch"), key) as out:
            return watch_champion(
                champion,
                profile.evaluate,
                SuiteSet.load(workspace.stage("prepare")),
                current.policy,
                promoted_rows=_rows_of(champion.evidence, workspace),
                first=first_figures(registry, name, champion.evidence.adapter),
                production=production,
                notes=notes,
                seed=profile.data_seed,
                out=out,
            )


def _rows_of(evidence: Evidence, workspace: Workspace) -> Path | None:
    """Return the rows that a champion's evidence was counted from, where they are still here."""
    rows = workspace.stage("evaluate") / ROWS
    return rows if rows.is_file() and digest_file(rows) == evidence.rows else None


def _record(registry: Registry, profile: Profile, found: Watch) -> None:
    """Record a watch as a look, which is the same one as long as the same rows come out, and in
    the run of the champion's watches."""
    from components.registry.looks import Look, record_look
    from components.registry.watches import Watched, record_watch

    name, experiment = profile.registration.name, profile.registration.experiment
    when = datetime.now(UTC).isoformat(timespec="seconds")
    look = Look(
        profile=profile.name,
        seed=profile.seed,
        adapter=found.adapter,
        prompts=found.test_prompts,
        data=found.data,
        evidence=found.rows,
        policy=found.policy,
        outcome=f"measured again: {found.drift}",
        when=when,
    )
    log.info("[%s] %s", "looks", record_look(registry, name, experiment, look).words)
    words = for_terminal(found.words)
    watched = Watched(found.version, found.adapter, found.drift, found.below_policy, words, when)
    record_watch(
        registry, name, experiment, watched, {line.metric: line.now for line in found.lines}
    )
