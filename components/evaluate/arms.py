"""The adapters and the champion as an evaluation finds them."""

from __future__ import annotations

from collections.abc import Iterable

from components.core.errors import EvidenceError
from components.core.storage import digest_folder
from components.evaluate.result import Champion, ChampionArm
from components.models.result import Models
from components.prepare.result import PromptSet
from components.train.result import Adapter


def check_same(pairs: Iterable[tuple[str, object, object]], *, remedy: str) -> None:
    """Raise `EvidenceError` for the first thing that was another one before; `pairs` are the
    things, each as it was and as it is."""
    for what, before, now in pairs:
        if before != now:
            raise EvidenceError(f"{what} differs: {before} then, {now} now; {remedy}")


def check_adapter(adapter: Adapter, models: Models, prompts: PromptSet) -> None:
    """Raise `EvidenceError` unless both adapters are whole and of these models and prompts."""
    model, folders = models.post_trained, (adapter.adapter, adapter.baseline)
    files, baseline = map(digest_folder, folders)
    pairs = (
        ("the adapter's model", adapter.base_model, model.digest),
        ("the adapter's prompt contract", adapter.contract.digest, model.contract.digest),
        ("the adapter's data", adapter.data, prompts.digest_of_prompts),
        ("what the adapter's folder holds", adapter.digest, files),
        ("what the baseline's folder holds", adapter.baseline_digest, baseline),
    )
    check_same(pairs, remedy="run the stage train again")


def meet_champion(champion: Champion, adapter: Adapter, models: Models) -> ChampionArm:
    """Return the champion as this evaluation finds it, with the reason where it cannot be asked.

    Raises `EvidenceError` where its files are not those that the registry gave.
    """
    released, post_trained = champion.released, models.post_trained
    if released is None:
        return ChampionArm(name=champion.name, released=None)
    reason = None
    if released.digest == adapter.digest:
        reason = "it is the adapter under evaluation"
    elif released.base_model != post_trained.digest:
        here = f"{post_trained.digest:.12}"
        reason = f"it belongs to the model {released.base_model:.12}, and this is {here}"
    elif released.contract != post_trained.contract:
        reason = "it was trained under another prompt contract"
    elif (found := digest_folder(champion.adapter)) != released.digest:
        raise EvidenceError(
            f"the champion's files in {champion.folder} were changed: the registry gave "
            f"{released.digest:.12}, here is {found:.12}; `safereact champion` brings them again"
        )
    return ChampionArm(name=champion.name, released=released, unmeasured=reason)
