"""Who is champion: promotion, rollback, status, and bringing an adapter back.

The change is written into the history before the alias moves, so that no champion is without who
and why. How one of several calls at once gets to write stands in `history`.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import paths as names
from components.core.errors import EvidenceError, RegistryError, StageError
from components.core.paths import Workspace
from components.core.storage import atomic_folder, digest_folder
from components.evaluate.result import Champion, Released
from components.gate.overrides import check_overrides
from components.registry.current import (
    Current,
    check_champion,
    check_current,
    found_here,
    recount_here,
)
from components.registry.history import (
    PROMOTED,
    ROLLED_BACK,
    Change,
    History,
    append,
    check_history,
    decode,
    earlier_champions,
    let_alias_follow,
    new_change,
    read_settled_history,
)
from components.registry.mlflow_registry import (
    CANDIDATE,
    CHAMPION,
    SIGNATURES,
    Model,
    Registry,
    Version,
)
from components.registry.release import reported_figures
from components.registry.signatures import check_signed, pinned_keys, write_envelope
from components.registry.verification import contract_in, verify_version

if TYPE_CHECKING:
    from securesystemslib.signer import Signer, SSlibKey

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AliasStatus:
    """What an alias points to, with the version's figures and, of a champion, its last change."""

    alias: str
    version: str
    adapter: str
    figures: dict[str, float]  # "arm/metric", with .low, .high and .n
    change: Change | None
    problems: tuple[str, ...] = ()  # why it cannot be relied on


def promote(
    registry: Registry, name: str, version: str | None = None, *, by: str, why: str
) -> Change:
    """Make a version (None: the candidate) champion; return the change in the history.

    Promoting the champion again changes nothing and returns the change there is. Raises
    `RegistryError` for a version that the gate did not accept or whose files are not what was
    registered, and where somebody else changes the champion meanwhile; `EvidenceError` where
    policy, champion, judges, data or prompt contract are not those it was accepted under, as far as
    they are here, or an override has ended or was withdrawn.
    """
    history = read_settled_history(registry, name)
    version = version or history.model.aliases.get(CANDIDATE)
    if version is None:
        raise RegistryError(f"{name} has no candidate; `safereact run` registers one")
    _verify(registry, registry.version(name, version), current=True)
    last, change = history.last, new_change(PROMOTED, version, history.champion, by=by, why=why)
    if last and last.version == version and (last.event == PROMOTED or history.followed):
        return let_alias_follow(registry, name, last)
    return append(registry, history, change)


def rollback(registry: Registry, name: str, *, by: str, why: str) -> Change:
    """Give `champion` back to the version that had it before; return the change.

    Versions deleted since are passed over, and those with the very adapter that is to go. Going
    back must be possible under a policy or champion that is newer than the version, so those are
    not compared. Raises `RegistryError` where there is no earlier champion, and otherwise as
    `promote`.
    """
    history = read_settled_history(registry, name)
    target = _earlier(registry, history)
    _verify(registry, registry.version(name, target), current=False)
    last, change = history.last, new_change(ROLLED_BACK, target, history.champion, by=by, why=why)
    if last and (last.event, last.version) == (ROLLED_BACK, target):  # it was cut off
        return let_alias_follow(registry, name, last)
    return append(registry, history, change)


def _earlier(registry: Registry, history: History) -> str:
    """Return the version that a rollback goes to; raises `RegistryError` where there is none."""
    name, champion = history.model.name, history.champion
    numbers = registry.numbers(name)

    def adapter(number: str) -> str | None:
        return registry.version(name, number).tags.get("adapter_digest")

    now = adapter(champion) if champion in numbers else None
    for number in earlier_champions(history.changes, champion, numbers):
        if now is None or adapter(number) != now:
            return number
    raise RegistryError(
        f"{name} has no earlier champion than version {champion or 'none'} to go back to; "
        "`safereact promote` makes another version champion"
    )


def status(registry: Registry, name: str) -> list[AliasStatus]:
    """Return what `champion` and `candidate` point to, the champion first; none: empty.

    The figures are those of the version's own evidence; of one that cannot be relied on there are
    none, and its problems say why.
    """
    model = registry.find_model(name)
    aliases = [a for a in (CHAMPION, CANDIDATE) if a in model.aliases] if model else []
    return [_alias_status(registry, model, alias) for alias in aliases if model]


def _alias_status(registry: Registry, model: Model, alias: str) -> AliasStatus:
    version = registry.version(model.name, model.aliases[alias])
    problems: list[str] = []
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            verified = verify_version(registry, version, Path(scratch))
            figures = reported_figures(verified.decision, verified.evidence)
        except RegistryError as error:
            problems.append(str(error))
    changes: list[Change] = []
    if alias == CHAMPION:
        changes = [change for change in decode(model.tags) if change.version == version.number]
        try:
            check_history(model)
        except RegistryError as error:
            problems.append(str(error))
    return AliasStatus(
        alias=alias,
        version=version.number,
        adapter=version.tags.get("adapter_digest", ""),
        figures=figures,
        change=changes[-1] if changes else None,
        problems=tuple(problems),
    )


def find_version(registry: Registry, name: str, alias: str) -> Version:
    """Return the version that `alias` (or a version's number) names.

    Raises `RegistryError` for an unknown name or alias, and for an alias `champion` that is not
    where the history left it.
    """
    model = registry.model(name)
    number = alias if alias.isdigit() else model.aliases.get(alias)
    if number is None:
        known = ", ".join(sorted(model.aliases)) or "none"
        raise RegistryError(f"{name} has no alias {alias!r}; it has: {known}")
    if alias == CHAMPION:
        check_history(model)
    return registry.version(name, number)


def pull(
    registry: Registry,
    name: str,
    alias: str,
    folder: Path,
    *,
    whole: bool = False,
    keys: Mapping[str, SSlibKey] | None = None,
) -> str:
    """Write the adapter that `alias` (or a version's number) names into `folder`, ready for PEFT;
    return the version's number.

    With `whole` the folder gets `adapter/`, `evidence/` and `signatures/`. The files are fetched
    beside `folder`, verified and moved there in one step. Raises `RegistryError` for a folder that
    is not empty, for a version that cannot be found or relied on, and `EvidenceError` for one that
    none of the `keys` signed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RegistryError(f"{folder} is not an empty folder; give another, or empty it")
    version = find_version(registry, name, alias)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        place = Path(scratch) / "version"
        place.mkdir()
        adapter = verify_version(registry, version, place).adapter
        if keys:
            _check_signed(version, place, keys)
        # An empty folder is replaced by the rename itself.
        (place if whole else adapter).replace(folder)
    return version.number


def sign(registry: Registry, name: str, alias: str, signer: Signer) -> Version:
    """Sign the statement about a version, once it was found reliable, and put it beside its
    evidence; return the version. Raises as `pull`."""
    version = find_version(registry, name, alias)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        verify_version(registry, version, folder)
        registry.add_file(version, write_envelope(folder, signer), SIGNATURES)
    return version


def fetch_champion(registry: Registry, name: str, folder: Path, *, own: str) -> bool:
    """Bring `folder` up to date with the champion of the registered model `name`; return whether it
    changed.

    `own` is the digest of the adapter that is to be compared with it, empty where there is none
    yet. Raises `RegistryError` where MLflow fails, the alias is not where the history left it, or
    the version cannot be relied on.
    """
    if model := registry.find_model(name):
        check_history(model)
    version = registry.version_at(name, CHAMPION)
    digest = version.tags.get("adapter_digest") if version else None
    if _is_current(folder, name, digest, own):
        return False
    with atomic_folder(folder) as scratch:
        (scratch / names.KEEP).touch()
        released = _fetch(registry, version, scratch) if version else None
        Champion(name=name, released=released).save(scratch)
    return True


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
        adapter = verified.adapter.replace(folder / names.ADAPTER)
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


def _verify(registry: Registry, version: Version, *, current: bool) -> None:
    """Raise `RegistryError` unless the version can be relied on and, with `current`, is one of its
    profile's registered model, and `EvidenceError` where an override has ended or was withdrawn or,
    with `current`, what the decision is about has changed or, where the rows are here, the evidence
    does not follow from them or people said otherwise of them than the decision has it."""
    with tempfile.TemporaryDirectory() as scratch:
        decision = verify_version(registry, version, Path(scratch)).decision
        check_overrides(decision, registry.root / names.OVERRIDES)
        if not current:
            return
        if "profile" not in version.tags:
            raise RegistryError(
                f"{version} has no tag `profile`, so nobody knows which policy it is held to; only "
                "what `safereact run` registered becomes champion"
            )
        here = Current.of(Workspace(registry.root, version.tags["profile"]))
        if (own := here.profile.registration.name) != version.name:
            raise RegistryError(
                f"{version} is of the profile {here.profile.name}, whose registered model is "
                f"{own}: a version is held to the policy of its own model's profile"
            )
        check_current(decision, found_here(decision, here))
        if signers := here.policy.signed_by:
            _check_signed(version, Path(scratch), pinned_keys(registry.root, signers))
    check_champion(registry, version.name, decision)
    recount_here(decision, here)


def _check_signed(version: Version, folder: Path, keys: Mapping[str, SSlibKey]) -> None:
    try:
        check_signed(folder, keys)
    except EvidenceError as error:
        raise EvidenceError(
            f"{version} is not signed by a key that is asked for ({', '.join(keys)}): {error}; "
            f"who vouches for it runs `safereact sign {version.name}@{version.number} --key FILE`"
        ) from error
