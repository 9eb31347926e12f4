"""The champion as the registry has it: fetched before an evaluation, looked up after the gate.

An adapter that becomes champion itself ends no comparison: what it was accepted against stays what
the decision is about, so nothing is evaluated again for a promotion.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from components.core.errors import EvidenceError, StageError
from components.core.paths import ADAPTER, KEEP
from components.core.storage import atomic_folder, digest_folder
from components.evaluate.result import NO_CHAMPION, Champion, Released
from components.gate.result import Decision
from components.registry.current import check_current
from components.registry.history import check_history
from components.registry.mlflow_registry import CHAMPION, Registry, Version
from components.registry.release import contract_in
from components.registry.verification import verify_version

log = logging.getLogger(__name__)


def fetch_champion(registry: Registry, name: str, folder: Path, *, own: str) -> bool:
    """Bring `folder` up to date with the champion of the registered model `name`; return whether it
    changed.

    `own` is the digest of the adapter that is to be compared with it, empty where there is none
    yet. Raises `RegistryError` where MLflow fails, the alias is not where the history left it, or
    the version cannot be relied on.
    """
    if model := registry.find_model(name):
        check_history(model)
    version = _champion(registry, name)
    digest = version.tags.get("adapter_digest") if version else None
    if _is_current(folder, name, digest, own):
        return False
    with atomic_folder(folder) as scratch:
        (scratch / KEEP).touch()
        released = _fetch(registry, version, scratch) if version else None
        Champion(name=name, released=released).save(scratch)
    return True


def check_champion(registry: Registry, name: str, decision: Decision) -> None:
    """Raise `EvidenceError` where the champion of `name` is another one than the decision rests on;
    a champion that is the accepted adapter itself is none."""
    if decision.champion is None:
        return
    version = _champion(registry, name)
    now = version.tags.get("adapter_digest", "") if version else NO_CHAMPION
    if now != decision.adapter:
        check_current(decision, {"champion": now})


def _champion(registry: Registry, name: str) -> Version | None:
    """Return the version that carries the alias; None where no version does, or none is there."""
    model = registry.find_model(name)
    number = model.aliases.get(CHAMPION) if model else None
    return registry.version(name, number) if number else None


def _is_current(folder: Path, name: str, digest: str | None, own: str) -> bool:
    """Return whether what was fetched into `folder` before is what an evaluation needs, now that
    the champion's adapter has this digest."""
    try:
        known = Champion.load(folder)
    except StageError:  # it is not there, or not in today's form
        return False
    if known.name != name:
        return False
    if known.released is None:
        return digest in (None, own)
    intact = digest_folder(known.adapter) == known.released.digest
    return intact and digest in (known.released.digest, own)


def _fetch(registry: Registry, version: Version, folder: Path) -> Released:
    """Bring a version's adapter into `folder` and return what it belongs to."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        verified = verify_version(registry, version, Path(scratch))
        adapter = verified.adapter.replace(folder / ADAPTER)
    contract = None  # of no form known here
    try:
        contract = contract_in(adapter)
    except (EvidenceError, StageError) as error:
        log.warning("the champion cannot be measured: %s", error)
    return Released(
        version=version.number,
        digest=version.tags["adapter_digest"],
        base_model=version.tags.get("post_trained_digest", ""),
        contract=contract,
    )
