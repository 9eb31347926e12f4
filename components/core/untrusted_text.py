"""What untrusted text becomes before people see it.

Completions, prompts, topics and names come from models, data sets and registries. On a page jinja's
autoescape and `visible` do the work; on a terminal `visible`, or `for_terminal` where a text must
stay one line; in Markdown `for_markdown`. Files for programs (rows, JSON) keep texts as they are.
"""

from __future__ import annotations

import logging
import re
import unicodedata

from components.core.typography import IGNORABLE, UNSEEN, CharacterTable
from components.core.vocabulary import Role

_INVISIBLE = UNSEEN | {"Zl", "Zp"}  # with the two separators that break lines unasked
_SHORT = 12  # hex digits of a digest in a sentence
_LONGEST_LINE = 1000  # characters on a terminal
# ASCII punctuation with a meaning within a line of CommonMark, of GitHub's tables and links, or of
# formulas in dollar signs.
_MARKS = re.compile(r"[\\`*_\[\]()<>|~&!#$@]")
_BARE_LINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
_START = re.compile(r"^([-+=]|\d+(?=[.)]))")


def short_digest(name: str) -> str:
    """Return a digest, or a name that ends in one such as a judge's, with the digest cut."""
    kind, colon, digest = name.rpartition(":")
    return f"{kind}{colon}{digest[:_SHORT]}"


def _visible_character(character: str) -> str:
    hidden = unicodedata.category(character) in _INVISIBLE or IGNORABLE.match(character)
    return f"⟨U+{ord(character):04X}⟩" if hidden else character


_TABLE = CharacterTable(_visible_character, {ord("\n"): "\n", ord("\t"): "\t"})


def visible(text: str) -> str:
    """Return `text` with every character that could hide or steer shown as its code point.

    An escape sequence's start becomes "⟨U+001B⟩", a right-to-left override "⟨U+202E⟩"; line
    breaks and tabs stay.
    """
    return text.translate(_TABLE)


def one_line(text: str) -> str:
    """Return `text` with its line breaks and tabs shown as signs."""
    return text.replace("\n", "↵").replace("\t", "⇥")


def folded(text: str) -> str:
    """Return `text` as one line: every run of white space, line breaks included, is one blank."""
    return " ".join(text.split())


def clip(text: str, characters: int) -> str:
    """Return at most the first `characters` of `text`, marked with an ellipsis where cut."""
    return text if len(text) <= characters else f"{text[:characters].rstrip()} …"


def for_terminal(text: str) -> str:
    """Return `text` as one line, cut at 1000 characters, in which nothing steers a terminal.

    To rich it may still be markup, which flows.cli.terminal does not read.
    """
    return one_line(visible(clip(text, _LONGEST_LINE)))


def for_markdown(text: str) -> str:
    """Return `text` as one line of Markdown that reads as the text itself, wherever it is put:
    in a line, a cell or a heading. It makes no link, picture, HTML, code or block.

    Of an address of e-mail GitHub may still make a link.
    """
    line = visible(folded(text))
    line = _MARKS.sub(r"\\\g<0>", line)
    # What would begin a list, a heading or a rule: "-" becomes "\-", and "1" before a stop "1\".
    return _START.sub(
        lambda mark: f"{mark[0]}\\" if mark[0].isdecimal() else f"\\{mark[0]}",
        _BARE_LINK.sub(r"\\", line),
    )


PROMPT_CHARACTERS = 280  # of a prompt that a page shows
HARMFUL_CHARACTERS = 120  # of a harmful one, where its completions are hidden


def is_withheld(role: Role, *, redact: bool) -> bool:
    """Return whether completions to prompts of this role are hidden from people."""
    return redact and role is Role.HARMFUL


class Formatter(logging.Formatter):
    """Log records, tracebacks included, as visible text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line or lines."""
        return visible(super().format(record))
