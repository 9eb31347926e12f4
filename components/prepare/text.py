"""Text as it is compared: normal form, words, id, odd characters."""

from __future__ import annotations

import re
import unicodedata

from components.core.storage import digest_bytes
from components.core.typography import plain

_ACCENTS = re.compile("[\u0300-\u036f]")
# Han and kana are written without spaces, so each of their characters counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
# Control characters but tab and line ends, private use, the replacement character of a failed
# decoding, byte order marks, and the marks that reverse the direction of writing unseen.
_UNREADABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ue000-\uf8ff\ufeff\ufff9-\uffff"
    r"\U000f0000-\U0010ffff]"
)


def normalise(text: str) -> str:
    """Return `text` in NFKC, case-folded, with every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """Return the words of the normalised text; a text without any is its own only word."""
    normal = normalise(text)
    return _WORD.findall(normal) or [normal]


def plain_words(text: str) -> list[str]:
    """Return the words without case, accents and punctuation, as texts are compared.

    What nobody sees in a word, and letters of other scripts that look like its own, set no two
    texts apart: a test prompt with soft hyphens in it is the prompt.
    """
    return words(_ACCENTS.sub("", unicodedata.normalize("NFKD", plain(text))))


def prompt_id(role: str, text: str, *, suite: str | None = None) -> str:
    """Return 16 hex digits of the SHA-256 of the role and the normalised text.

    Rows of a named suite have its name in their ids: each suite stays whole, whatever it shares
    with another.
    """
    place = role if suite is None else f"{suite}\n{role}"
    return digest_bytes(f"{place}\n{normalise(text)}".encode())[:16]


def as_seen(text: str) -> str:
    """Return the normalised text as its reader sees it: without what nobody sees, and in one
    spelling of what looks alike."""
    return normalise(plain(text))


def unreadable_characters(text: str) -> int:
    """Return how many characters of `text` are no readable text: all where nobody sees any."""
    return len(_UNREADABLE.findall(text)) if as_seen(text) else len(text)
