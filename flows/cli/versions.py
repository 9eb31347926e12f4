"""The commands that hand a registered version on: bring it, sign it, verify what was brought."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError, EvidenceError, StageError
from components.core.paths import ADAPTER
from components.core.untrusted_text import for_terminal
from flows.cli.app import open_registry
from flows.cli.terminal import console

Source = Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="Alias or version.")]
Follow = Annotated[
    bool, typer.Option("--follow", help="Go over to another version where the alias moves.")
]
_Keys = Annotated[
    list[Path] | None,
    typer.Option("--key", metavar="FILE.pem", help="Public key, one of which must have signed it."),
]


def pull(
    source: Source,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
    whole: Annotated[bool, typer.Option("--whole", help="With evidence and signatures.")] = False,
    key: _Keys = None,
) -> None:
    """Bring a registered adapter back, verified, ready for PEFT."""
    registry, (name, alias) = open_registry(), named_version(source)
    from components.registry import delivery
    from components.registry.signatures import read_public_key

    keys = {str(path): read_public_key(path) for path in key or ()}
    version = delivery.pull(registry, name, alias, folder.absolute(), whole=whole, keys=keys)
    place = folder / ADAPTER if whole else folder
    remedy = f"AutoPeftModelForCausalLM.from_pretrained({str(place)!r}) loads it"
    if base := delivery.missing_base(place):
        remedy = (
            f"its base {base} is not here: load that model from where it is, and the adapter with "
            f"PeftModel.from_pretrained(model, {str(place)!r})"
        )
    console.print(f"{name} version {version} is in {folder}; {remedy}")
    if whole:
        console.print(f"verify it: safereact verify {folder}")


def publish(
    source: Source,
    to: Annotated[str, typer.Option(metavar="OWNER/NAME", help="Repository of the hub.")],
) -> None:
    """Push a registered adapter with its model card to a hub (HF_ENDPOINT, HF_TOKEN)."""
    registry, (name, alias) = open_registry(), named_version(source)
    from components.registry import delivery

    console.print(f"published: {delivery.publish(registry, name, alias, to)}")


def restore(source: Source) -> None:
    """Bring into a fresh clone at a version's commit all that the version rests on: profile, policy
    and results, verified, from the registry and from DVC's remote."""
    registry, (name, alias) = open_registry(), named_version(source)
    from flows.runner.remote import restore_version

    version, workspace, stale = restore_version(registry, name, alias)
    state = f"stale: {', '.join(stale)}" if stale else "every stage is up to date"
    now = f"safereact audit {name}@{version.number}"
    console.print(f"{version} is restored; {state}; now: {now}")
    if stale:
        console.print(f"why: safereact status --profile {workspace.profile}")


def sign(
    source: Source,
    key: Annotated[str, typer.Option(metavar="KEY", help="PEM file, or a KMS's address.")],
    public: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="Public half of a KMS's key.")
    ] = None,
) -> None:
    """Vouch for a registered version: sign a statement about its files and its decision."""
    registry, (name, alias) = open_registry(), named_version(source)
    from components.registry import delivery
    from components.registry.signatures import open_signer

    signer = open_signer(key, public)
    version = delivery.sign(registry, name, alias, signer)
    console.print(f"signed: {version} by key {signer.public_key.keyid:.12}")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `pull --whole` brought.")],
    key: _Keys = None,
    rows: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The evaluation's rows.parquet.")
    ] = None,
) -> None:
    """Verify a version by its files alone; needs no registry and no repository."""
    from pydantic import ValidationError

    from components.registry.signatures import check_signed, damaged, read_public_key
    from components.registry.verification import check_history_beside, verify_files

    if not folder.is_dir():
        raise EvidenceError(
            f"{folder} is no folder; `safereact pull NAME@ALIAS DIR --whole` brings a version"
        )
    keys = {str(path): read_public_key(path) for path in key or ()}
    try:
        verified = verify_files(folder)
    except (StageError, ValidationError) as error:
        raise EvidenceError(f"{folder} cannot be verified: {error}") from error
    decision = verified.decision
    console.print(f"adapter {decision.adapter[:12]}: {decision.words}")
    labels = ", and by the labels that it states" if decision.labelled else ""
    console.print(f"the decision follows from the evidence and the policy beside it{labels}")
    if rows is not None:
        _check_rows(rows, verified.evidence.rows)
    if keys:
        signed = ", ".join(check_signed(folder, keys))
        console.print(f"signed by {signed}, as it lies here")
    else:
        console.print("no signature was looked at: give public keys with --key", style="yellow")
    for broken in damaged(folder, keys):
        console.print(for_terminal(broken), style="yellow")
    console.print(for_terminal(check_history_beside(folder, keys, decision.adapter)))


def _check_rows(rows: Path, stated: str) -> None:
    from components.core.storage import digest_file

    if not rows.is_file():
        raise ConfigError(f"{rows} is no file; give the evaluation's rows.parquet")
    if (found := digest_file(rows)) != stated:
        raise EvidenceError(f"the rows are {stated[:12]} in the evidence, {rows} is {found[:12]}")
    console.print("the rows are those that the evidence was counted from")


def named_version(source: str) -> tuple[str, str]:
    """Return name and alias; raises `ConfigError` where one is missing."""
    name, _, alias = source.partition("@")
    if not name or not alias:
        raise ConfigError(f"{source!r} is not NAME@ALIAS, such as tiny-safety@champion")
    return name, alias
