"""Handing a registered version on: finding, bringing and signing it, noting what a check found of
what is made from it, and the champion that an evaluation meets."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import paths as names
from components.core.errors import EvidenceError, RegistryError, StageError
from components.core.storage import atomic_folder, digest_folder, read_json
from components.core.untrusted_text import for_terminal
from components.evaluate.result import Champion, Released
from components.registry.changes import WITHDRAWN, chain_of, refusal_of, write_chain
from components.registry.history import check_decided_on, check_history, number_of, read_history
from components.registry.mlflow_registry import CHAMPION, EVIDENCE, SIGNATURES, Registry, Version
from components.registry.signatures import check_heads, signed_heads, write_envelope
from components.registry.verification import (
    ADAPTER_FILES,
    CARD,
    check_version_signed,
    contract_in,
    heads_of,
    verify_version,
    warn_without_keys,
)

if TYPE_CHECKING:
    from securesystemslib.signer import Signer, SSlibKey

README = "README.md"  # where PEFT and the hub look for a model card
_CHECK = "check."  # before an artefact's digest: the tag that says what a check found of it

log = logging.getLogger(__name__)


def find_version(registry: Registry, name: str, alias: str) -> Version:
    """Return the version that `alias` (or a version's number) names.

    Raises `RegistryError` for an unknown name or alias, for an alias `champion` that is not where
    the history left it or whose version has another adapter than was promoted, and for a candidate
    that somebody turned down. Of a version that somebody turned down, and that is named by its
    number, a log line says so.
    """
    model = registry.model(name)
    chain = check_history(model) if alias == CHAMPION else chain_of(model.tags)
    version = registry.version(name, number_of(model, alias))
    check_decided_on(version, alias, chain)
    if refusal := refusal_of(chain.changes, version.number, version.adapter):
        log.warning("%s", for_terminal(f"{version} was {refusal}"))
    return version


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

    Its README.md is the model card. With `whole` the folder gets `adapter/`, `evidence/`,
    `signatures/` and the history. The files are fetched beside `folder`, verified and moved there
    in one step. Raises `RegistryError` for a folder that is not empty, for a version that cannot be
    found or relied on, and `EvidenceError` for one that none of the `keys` signed, or with another
    history than they signed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RegistryError(f"{folder} is not an empty folder; give another, or empty it")
    version = find_version(registry, name, alias)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        place = Path(scratch) / "version"
        place.mkdir()
        adapter = verify_version(registry, version, place).adapter
        tags = registry.model(name).tags  # after the signatures: the history may go on meanwhile
        if keys:
            check_version_signed(version, place, keys)
            heads = [head for head in signed_heads(place, keys) if head.model == name]
            check_heads(heads, name, chain_of(tags))
        if whole:
            write_chain(name, tags, place)
        if not whole:
            shutil.copy(place / EVIDENCE / CARD, adapter / README)
        # An empty folder is replaced by the rename itself.
        (place if whole else adapter).replace(folder)
    return version.number


def publish(registry: Registry, name: str, alias: str, repo: str) -> str:
    """Push the adapter that `alias` (or a version's number) names with its model card to a
    repository of the hub, which is made, private, where it is missing; return the commit's address.

    Nothing else goes along: no evidence, so no completion. Raises `RegistryError` as `pull`, for a
    version that was withdrawn, and where the hub does not take it.
    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    model = registry.model(name)
    version = registry.version(name, number_of(model, alias))
    refusal = refusal_of(chain_of(model.tags).changes, version.number, version.adapter)
    if refusal and refusal.event == WITHDRAWN:
        raise RegistryError(f"{version} is not published: it was {refusal}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / names.ADAPTER
        number = pull(registry, name, alias, folder)
        try:
            api = HfApi()
            api.create_repo(repo, private=True, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                allow_patterns=sorted({README, *ADAPTER_FILES}),
                commit_message=f"{name} version {number}",
            )
        except (HTTPError, ValueError, OSError) as error:
            told = for_terminal(str(error))
            raise RegistryError(f"the hub did not take {name} version {number}: {told}") from error
    return str(done)


def missing_base(folder: Path) -> str | None:
    """Return the path of the base that the adapter in `folder` names, where it is a path and
    nothing is there: PEFT would look for it."""
    named = str(read_json(folder / "adapter_config.json").get("base_model_name_or_path", ""))
    is_path = named.startswith((".", "/"))
    return named if is_path and not Path(named).is_dir() else None


def sign(registry: Registry, name: str, alias: str, signer: Signer) -> Version:
    """Sign the statement about a version, once it was found reliable, and put it beside its
    evidence; return the version. The statement is about the history, too. Raises as `pull`."""
    version, heads = find_version(registry, name, alias), heads_of(registry, name)
    chain = read_history(registry, name).chain
    check_heads(heads, name, chain)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        verify_version(registry, version, folder)
        warn_without_keys(registry, folder)
        envelope = write_envelope(folder, signer, name, chain.head)
        registry.add_file(version, envelope, SIGNATURES)
    return version


def record_check(
    registry: Registry, name: str, alias: str, *, adapter: str, artefact: str, words: str
) -> str:
    """Tag the version of `name` that carries `alias`, or has that number, with what a check found
    of an artefact, and return its number.

    `artefact` is the digest of its files. Raises `RegistryError` for a version that is not there,
    and `EvidenceError` where the check was of another adapter than the version's.
    """
    version = find_version(registry, name, alias)
    if version.adapter != adapter:
        raise EvidenceError(
            f"{version} holds the adapter {version.adapter:.12}, and {adapter:.12} was checked; "
            "name the version of the adapter that is in the workspace"
        )
    registry.set_version_tag(version, f"{_CHECK}{artefact}", words)
    return version.number


def fetch_champion(registry: Registry, name: str, folder: Path, *, own: str) -> bool:
    """Bring `folder` up to date with the champion of the registered model `name`; return whether it
    changed.

    `own` is the digest of the adapter that is to be compared with it, empty where there is none
    yet. Raises `RegistryError` where MLflow fails, the alias is not where the history left it, or
    the version cannot be relied on.
    """
    model = registry.find_model(name)
    if model:
        check_history(model)
    there = model and CHAMPION in model.aliases
    version = find_version(registry, name, CHAMPION) if there else None
    digest = version.adapter if version else None
    if _is_current(folder, name, digest, own):
        return False
    with atomic_folder(folder) as scratch:
        (scratch / names.KEEP).touch()
        released = _fetch(registry, version, scratch) if version else None
        Champion(name=name, released=released).save(scratch)
    return True


def bring_released(registry: Registry, champion: Champion) -> None:
    """Bring the adapter of the version that `champion` names into its folder, unless it lies there.

    Raises `RegistryError` where the version is gone, cannot be relied on or has another adapter.
    """
    released = champion.released
    if released is None or champion.adapter.is_dir():
        return
    version = registry.version(champion.name, released.version)
    if version.adapter != released.digest:
        raise RegistryError(
            f"{version} was compared with as champion and has another adapter now: "
            f"{version.adapter:.12}, not {released.digest:.12}"
        )
    with tempfile.TemporaryDirectory(prefix=".", dir=champion.folder) as scratch:
        adapter = verify_version(registry, version, Path(scratch)).adapter
        adapter.replace(champion.adapter)


def _is_current(folder: Path, name: str, digest: str | None, own: str) -> bool:
    """Return whether what was fetched into `folder` before is what an evaluation needs, now that
    the champion's adapter has this digest."""
    try:
        known = Champion.load(folder)
    except StageError:  # it is not there, or not in today's form
        return False
    if known.name != name:
        return False
    if known.released is None:  # nothing is the same as nothing: a champion without a digest
        return digest is None or digest == own != ""
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
        digest=version.adapter,
        base_model=version.tags.get("post_trained_digest", ""),
        contract=contract,
    )
