"""Signed statements about a registered version, which others can verify without its registry.

A statement is in-toto's (Statement v1) with the predicate of a test result: its subjects are the
files of the adapter, its configuration those of the evidence and the history of promotions until
then, its tests the gate's rules. It is signed in an envelope (DSSE) that lies beside them. Who can
write to the store can take a signature away and cannot make one, nor rewrite a history unseen that
was signed.

Specifications: in-toto attestation framework, `statement` v1 and `test-result` v0.1; DSSE v1.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Signer, SSlibKey

from components.core.errors import ConfigError, EvidenceError, StageError
from components.core.paths import ADAPTER
from components.core.result import mismatches
from components.core.storage import digest_file, read_json, write_json
from components.core.untrusted_text import for_terminal
from components.gate.result import Decision, RuleOutcome
from components.registry.changes import Chain
from components.registry.mlflow_registry import EVIDENCE, SIGNATURES

log = logging.getLogger(__name__)

KEYS = "mlflow/keys"  # public keys that policies name, one PEM file each
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
_PAYLOAD = "application/vnd.in-toto+json"
_LARGEST = 10_000_000  # bytes of an envelope
_HISTORY = "history/"  # before the model's name: what a statement calls a history
_NAMED = 3  # mismatches that a message names


class SignedHead(NamedTuple):
    """The head of a registered model's history that somebody signed."""

    by: str
    model: str
    digest: str


def statement_of(folder: Path, model: str, head: str) -> dict[str, Any]:
    """Return the statement about a version whose adapter and evidence lie in `folder`, and about
    the history of its registered model, which has this head."""
    history = {"name": f"{_HISTORY}{model}", "digest": {"sha256": head}}
    rules = Decision.load(folder / EVIDENCE).rules

    def names(kept: Callable[[RuleOutcome], bool]) -> list[str]:
        return [_test(rule) for rule in rules if kept(rule)]

    return {
        "_type": _STATEMENT,
        "subject": _descriptors(folder, ADAPTER),
        "predicateType": _PREDICATE,
        "predicate": {
            "result": "PASSED",
            "configuration": [*_descriptors(folder, EVIDENCE), history],
            "passedTests": names(lambda rule: rule.passed and not rule.warns),
            "warnedTests": names(lambda rule: rule.warns or (rule.stands and not rule.passed)),
            "failedTests": names(lambda rule: not rule.stands),
        },
    }


def _test(rule: RuleOutcome) -> str:
    return f"{rule.rule}; {rule.override}" if rule.override else rule.rule


def _descriptors(folder: Path, part: str) -> list[dict[str, Any]]:
    """Return name and SHA-256 of every file in a part of a version, by in-toto's schema."""
    files = sorted(path for path in (folder / part).rglob("*") if path.is_file())
    return [
        {"name": path.relative_to(folder).as_posix(), "digest": {"sha256": digest_file(path)}}
        for path in files
    ]


# --- signing ---------------------------------------------------------------------------------


def open_signer(key: str, public: Path | None) -> Signer:
    """Return what signs with `key`: the PEM file of a private key, or the address of one that a
    KMS or another device of `securesystemslib` keeps, whose `public` half lies in a PEM file.

    Raises `ConfigError` for a key that is missing, open to other users, encrypted or no key.
    """
    scheme = key.partition(":")[0]
    if scheme in SIGNER_FOR_URI_SCHEME and scheme != CryptoSigner.SCHEME:
        if public is None:
            raise ConfigError(f"{scheme}: give its public half, too: --public FILE.pem")
        try:
            return Signer.from_priv_key_uri(key, read_public_key(public))
        except Exception as error:
            raise ConfigError(f"the key {scheme}: cannot be opened: {error}") from error
    if public is not None:
        raise ConfigError("--public is of a key in a KMS; the PEM file has its public half itself")
    path = Path(key)
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} can be read by other users; `chmod 600 {path}` first")
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} is not the PEM file of a private key without a password: {error}; "
            "`openssl genpkey -algorithm ed25519 -out FILE` makes one"
        ) from error


def read_public_key(path: Path) -> SSlibKey:
    """Return the public key in a PEM file; raises `ConfigError` where there is none."""
    try:
        return SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()))
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} is not the PEM file of a public key: {error}; "
            "`openssl pkey -in KEY -pubout -out FILE` writes that of a private one"
        ) from error


def write_envelope(folder: Path, signer: Signer, model: str, head: str) -> Path:
    """Sign the statement about the version in `folder` and the history of its registered model;
    return the envelope's file below it."""
    payload = json.dumps(statement_of(folder, model, head), sort_keys=True).encode()
    envelope = Envelope(payload, _PAYLOAD, {})
    signature = envelope.sign(signer)
    path = folder / SIGNATURES / f"{signature.keyid}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, envelope.to_dict())
    return path


# --- verifying -------------------------------------------------------------------------------


def pinned_keys(root: Path, names: tuple[str, ...]) -> dict[str, SSlibKey]:
    """Return the public keys that a policy names; raises `ConfigError` for a missing one, naming
    those that there are and what lies there under another ending."""
    there, odd = _key_files(root)
    for name in names:
        if name not in there:
            known = ", ".join(there) or "none"
            beside = f"; not read, since keys there end in .pem: {', '.join(odd)}" if odd else ""
            raise ConfigError(
                f"the policy asks for a signature by {name}, and {KEYS}/{name}.pem is not there; "
                f"keys that are: {known}{beside}"
            )
    return {name: read_public_key(there[name]) for name in names}


def known_keys(root: Path) -> dict[str, SSlibKey]:
    """Return all public keys of a repository, whether or not a policy names them."""
    return {name: read_public_key(path) for name, path in _key_files(root)[0].items()}


def passed_over(root: Path) -> list[str]:
    """Return in words what lies among the public keys of a repository and is not read as one, so
    that nobody would miss the signatures of whose key it is."""
    end = "is passed over: public keys there end in .pem"
    return [f"{KEYS}/{name} {end}" for name in _key_files(root)[1]]


def _key_files(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the files of public keys by name, and the names of files that are none; hidden ones
    and pages (`.md`) may lie beside. Raises `ConfigError` where something else is in their place.
    """
    folder = root / KEYS
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise ConfigError(f"{folder} is no folder: move it away, or put the folder there")
        return {}, []
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    odd = [path.name for path in found if path.suffix not in (".pem", ".md")]
    return {path.stem: path for path in found if path.suffix == ".pem"}, odd


def check_signed(folder: Path, keys: Mapping[str, SSlibKey]) -> list[str]:
    """Return the names of the `keys` that signed the version in `folder` as it lies there.

    Raises `EvidenceError` where none did, naming what was found instead: no signature, one by
    another key, one that cannot be read, whoever's it is, or one about other files.
    """
    problems: list[str] = []
    signed = []
    for name, key in keys.items():
        try:
            stated = _stated(folder, key)
        except EvidenceError:
            continue  # told below
        if stated is None:
            problems.append(f"{name} has not signed it")
            continue
        found = mismatches(stated, statement_of(folder, *_history(stated)))
        if named := list(islice(found, _NAMED)):
            problems.append(f"the signature of {name} is about other files: {'; '.join(named)}")
        else:
            signed.append(name)
    if not signed:
        problems += damaged(folder, keys)
        raise EvidenceError("; ".join(problems) or "no key is named to look for")
    return signed


def damaged(folder: Path, keys: Mapping[str, SSlibKey]) -> list[str]:
    """Return in words what lies in `folder` as a signature and cannot be read as one, whoever's it
    is, or lies under the name of one of `keys` and is not by it. It is no signature, and that it is
    there tells that there was one."""
    owners = {_file_of(key): (name, key) for name, key in keys.items()}
    found = []
    for path in sorted((folder / SIGNATURES).glob("*")):
        name, key = owners.get(path.name, ("", None))
        try:
            _read(path, key)
        except EvidenceError as error:
            whose = f", by its name that of {name}" if name else ""
            found.append(f"a signature is there and {error}: {SIGNATURES}/{path.name}{whose}")
    return found


def warn_of(broken: Iterable[str]) -> None:
    """Warn of what lies with versions as a signature, or among the keys, and cannot be read: where
    no policy asks for a signature, that it is there tells that somebody had vouched."""
    for one in broken:
        log.warning("%s", for_terminal(one))


def signed_beside(folder: Path, root: Path) -> str:
    """Return in words by which keys of the repository at `root` the version in `folder` is signed,
    and what else lies there as a signature, or among the keys, and cannot be read; raises
    `EvidenceError` for an envelope of one of them that is no signature of it."""
    signed, keys = [], known_keys(root)
    for name, key in keys.items():
        if (folder / SIGNATURES / _file_of(key)).exists():
            signed += check_signed(folder, {name: key})
    by = f"by {', '.join(signed)}" if signed else f"none by a key in {KEYS}"
    return "; ".join([by, *damaged(folder, keys), *passed_over(root)])


def signed_heads(folder: Path, keys: Mapping[str, SSlibKey]) -> list[SignedHead]:
    """Return the heads of histories that the `keys` signed in `folder`; what is no signature of
    theirs states none, and is told by `damaged`."""
    heads = []
    for name, key in keys.items():
        try:
            model, head = _history(_stated(folder, key))
        except EvidenceError:
            continue
        if model:
            heads.append(SignedHead(name, model, head))
    return heads


def check_heads(heads: Iterable[SignedHead], model: str, chain: Chain) -> None:
    """Raise `EvidenceError` where a signed head is not on the chain of its registered model."""
    for by, of, head in heads:
        if of != model or head not in chain.digests:
            raise EvidenceError(
                f"the history of {of} was rewritten: the {len(chain.changes)} changes of "
                f"{model or 'no model'} here do not go on from those that {by} signed, whose head "
                f"is {head:.12}"
            )


def _stated(folder: Path, key: SSlibKey) -> Any:
    """Return the statement that `key` signed in `folder`; None: there is none. Raises
    `EvidenceError` saying what is wrong with the envelope."""
    path = folder / SIGNATURES / _file_of(key)
    return _read(path, key) if path.exists() or path.is_symlink() else None


def _file_of(key: SSlibKey) -> str:
    return f"{key.keyid}.json"


def _read(path: Path, key: SSlibKey | None) -> Any:
    """Return the statement in an envelope's file, which `key` is to have signed; without one nobody
    knows who did. Raises `EvidenceError` saying what is wrong with the file."""
    if not path.is_file():
        raise EvidenceError("cannot be read (it is no file)")
    if path.stat().st_size > _LARGEST:
        raise EvidenceError("cannot be read (it is larger than any statement)")
    try:
        envelope = Envelope.from_dict(read_json(path))
        if key is not None:
            envelope.verify([key], 1)
        stated = json.loads(envelope.payload)
    except VerificationError as error:
        raise EvidenceError("is not by this key") from error
    except (FormatError, StageError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvidenceError(f"cannot be read ({type(error).__name__})") from error
    if envelope.payload_type != _PAYLOAD:
        raise EvidenceError(f"is about {envelope.payload_type!r}, no statement")
    return stated


def _history(stated: Any) -> tuple[str, str]:
    """Return the registered model whose history a statement is about, and its head; empty: none."""
    try:
        for one in stated["predicate"]["configuration"]:
            if one["name"].startswith(_HISTORY):
                return one["name"].removeprefix(_HISTORY), str(one["digest"]["sha256"])
    except (KeyError, TypeError, AttributeError):
        pass
    return "", ""
