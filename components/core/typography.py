"""A text as its reader takes it, however it is typed: one folding for patterns and comparisons.

A refusal is one with a typographic apostrophe, in full-width letters or with a blank that has no
width in it. So texts and the patterns looked for in them are folded alike.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Mapping

# What the Unicode standard lets a renderer leave out (Default_Ignorable_Code_Point) though it is no
# control or format character: the grapheme joiner, Hangul and Khmer fillers, variation selectors.
IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_APOSTROPHES = "‘’‚‛′‵´ʹʻʼʽʾʿˈˊˋ՚՝׳ꞌꞋ＇｀᾽᾿´"
_QUOTES = "“”„‟«»‹›″〝〞〟＂❝❞「」『』﹁﹂﹃﹄"
_HYPHENS = "‐‑−﹣－"
_DASHES = "‒–—―⸺⸻"
_LINE_ENDS = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}  # controls, formatting, surrogates, private, unassigned
_ACCENTS = re.compile("[\u0300-\u036f]")
# Letters of other scripts that look like Latin ones, where they stand in a word of Latin letters.
_LOOK_ALIKES = str.maketrans(
    "АВЕІЈКМНОРСТХаеіјорсухΑΒΕΙΚΜΝΟΡΤΧο", "ABEIJKMHOPCTXaeijopcyxABEIKMNOPTXo"
)
_LOOK_ALIKE = re.compile(f"[{''.join(map(chr, _LOOK_ALIKES))}]")
_MIXED = re.compile(r"[^\W\d_]*[A-Za-z](?:'?[^\W\d_])*|\b[ІΙ](?= [a-z])")
# What stands for an apostrophe when a text was escaped or typed twice: can\'t, can''t, can"t.
_ESCAPED = re.compile(r"(?<=[a-z])(?:\\+'|''|\")(?=(?:t|m|d|s|re|ve|ll)\b)", re.IGNORECASE)
_HYPHENATED = re.compile(r"(?<=[a-z])- ?\n ?(?=[a-z])")
_BACKTICK = re.compile(r"(?<=[a-z])`(?=[a-z])", re.IGNORECASE)
# Between the letters of a short "not", where tokenizers of text put blanks: can 't, ca n't.
_SPLIT_NOT = re.compile(r"(?<=[a-z]) ?n ?' ?t\b|(?<=[a-z])n ?' ?t\b", re.IGNORECASE)


class CharacterTable(dict[int, str]):
    """A table for `str.translate` that asks `replace` for a character when it is first met."""

    def __init__(self, replace: Callable[[str], str], known: Mapping[int, str]) -> None:
        super().__init__(known)
        self._replace = replace

    def __missing__(self, code: int) -> str:
        replaced = self._replace(chr(code))
        if code <= 0xFFFF:  # the table stays small, whatever it meets
            self[code] = replaced
        return replaced


def _folded(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    if IGNORABLE.match(character):
        return ""
    if character.isspace():
        return " "
    if unicodedata.category(character) in UNSEEN:
        return ""
    # One by one: putting a long run of accents into their order takes the square of its length.
    apart = unicodedata.normalize("NFKD", character)
    whole = unicodedata.normalize("NFKC", character)
    return whole if "가" <= whole <= "힣" else _ACCENTS.sub("", apart)


_TABLE = CharacterTable(
    _folded,
    {
        **dict.fromkeys(map(ord, _APOSTROPHES), "'"),
        **dict.fromkeys(map(ord, _QUOTES), '"'),
        **dict.fromkeys(map(ord, _HYPHENS), "-"),
        **dict.fromkeys(map(ord, _DASHES), " - "),
        **dict.fromkeys(map(ord, _LINE_ENDS), "\n"),
        ord("ı"): "i",
    },
)


def plain(text: str) -> str:
    """Return `text` with one spelling for what looks alike; letters keep their case.

    Apostrophes, quotation marks, hyphens and dashes of all kinds are the ASCII ones; letters and
    digits are those of NFKD without accents; HTML entities are their characters; what nobody sees
    is gone; blanks are single spaces, none before a comma or a stop; line ends are newlines, and do
    not part a word; letters of other scripts within Latin words are those that they look like; and
    "ca n't", "can `t" and "can\\'t" are "can't".
    """
    text = html.unescape(text) if "&" in text else text
    text = text.replace("\r\n", "\n").translate(_TABLE)
    if _LOOK_ALIKE.search(text):
        text = _MIXED.sub(lambda word: word[0].translate(_LOOK_ALIKES), text)
    text = _HYPHENATED.sub("", _ESCAPED.sub("'", text))
    text = _BACKTICK.sub("'", re.sub(r"[^\S\n]+", " ", text))
    text = re.sub(r"(?<=\w) (?=[,.;!?](?!\S))", "", text)
    return _SPLIT_NOT.sub("n't", text)


def plain_pattern(pattern: str) -> str:
    """Return a regular expression with its characters outside ASCII folded as `plain` folds them,
    so that it matches the folded text wherever it matched the text."""
    return "".join(
        character if character.isascii() else re.escape(character.translate(_TABLE))
        for character in pattern
    )
