"""Which language a text is in, and how that language declines: the table is `languages.yaml`.

A language is told by its script or by its commonest words. All patterns read folded text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from components.core.documents import read_yaml
from components.core.patterns import any_of
from components.core.typography import plain_pattern

_TABLE = Path(__file__).with_suffix(".yaml")
ENGLISH = "English"
NO_PROSE = "no prose"  # too short to tell, or names
_ENGLISH_WORDS = (
    "the of and to in is you that it for on are with as be this have from or by not but what all "
    "were when we your can there an which their if will how them then i my me do at they so a he "
    "she was has its about after any because been before between both could did does down each "
    "every first give good great had into just know make many more most much must new near never "
    "now only often other our out same should some such take than these those through try until "
    "up use very way well where while who within without would during again always usually here"
)
_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[a-zæøłßđð]", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_READ = 20_000  # characters in which a text shows its language
_COMMON = 0.1  # of the words of any prose in a language; English has about 0.4
_NOTATION = re.compile(r"[=(){}<>\\|^$_;\[\]]")
_FEW = 8  # words that may be parts of formulas
_NAMES = 3  # words that may be names, letters of options, an item of a list
_SEPARATORS = re.compile(r"[,;\n]")
# "No" and "not" in what is not English. A text of so few words with one of them may decline.
_SHORT = 5
_NOT = re.compile(
    r"\b(?:no(?! (?:problem|worries|doubt))|n[aã]o|non|nein|nee|nej|nie|ne|nicht|niet|geen|kein\w*|"
    r"pas|ikke|inte|ei|nem|nu|nav|nuk|hindi|tidak|tak|khong|pa|нет|не|ні|ни|няма|нема)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Language:
    """What the rules know of a language."""

    refusals: re.Pattern[str]  # forms of declining
    doubts: re.Pattern[str]  # words that refusals are made of
    words: frozenset[str]  # the commonest ones, of a language in Latin letters
    script: re.Pattern[str] | None  # the letters that are its own


@cache
def languages() -> dict[str, Language]:
    """Return the languages beside English, by name."""
    return {
        name: Language(
            refusals=_folded("|".join(map(any_of, row["refusals"]))),
            doubts=_folded(any_of(row["doubts"])),
            words=frozenset(map(plain_pattern, row.get("words", "").split())),
            script=_folded(row["script"]) if "script" in row else None,
        )
        for name, row in read_yaml(_TABLE).items()
    }


def language_of(text: str) -> str | None:
    """Return the language that folded `text` is in, `NO_PROSE` where it shows none, and None for
    one that the rules do not read. Formulas and code are English."""
    text = text[:_READ]
    letters = len(_LETTER.findall(text))
    if 2 * len(_LATIN.findall(text)) < letters:
        return _by_script(text, letters)
    words = _WORD.findall(text)
    found = Counter(map(str.lower, words))
    common, languages_of = _common_words()
    counts = dict.fromkeys(common, 0)
    for word in found.keys() & languages_of.keys():
        for name in languages_of[word]:
            counts[name] += found[word]
    best = max(counts, key=counts.__getitem__)  # English, if another has as many
    kinds, few = len(common[best] & found.keys()), len(words) < _FEW
    if counts[best] >= _COMMON * len(words) and kinds > 1:
        return best
    if 20 * len(_NOTATION.findall(text)) > len(text) or (kinds and best == ENGLISH and few):
        return ENGLISH
    names = sum(word[0].isupper() for word in words)
    listed = all(len(_WORD.findall(part)) <= 2 for part in _SEPARATORS.split(text))
    return NO_PROSE if len(words) <= _NAMES or listed or 3 * names > len(words) else None


def is_short_no(text: str) -> bool:
    """Return whether folded `text`, which is not English, is short and says no or not."""
    return len(_WORD.findall(text)) <= _SHORT and _NOT.search(text) is not None


@cache
def _common_words() -> tuple[dict[str, frozenset[str]], dict[str, list[str]]]:
    """Return the commonest words of every language, English first, and the languages of a word."""
    common = {ENGLISH: frozenset(_ENGLISH_WORDS.split())}
    common |= {name: language.words for name, language in languages().items()}
    languages_of: dict[str, list[str]] = {}
    for name, own in common.items():
        for word in own:
            languages_of.setdefault(word, []).append(name)
    return common, languages_of


def _by_script(text: str, letters: int) -> str | None:
    """Return the first language, in the table's order, that one letter of 25 is peculiar to. Those
    that have more letters than a neighbour stand before it."""
    for name, language in languages().items():
        if language.script and 25 * len(language.script.findall(text)) > letters:
            return name
    return None


def _folded(pattern: str) -> re.Pattern[str]:
    return re.compile(plain_pattern(pattern), re.IGNORECASE)
