"""A slow, obvious second way to say what the lines of a guard's prompt read as.

Written out by hand from the prompts, without anything of the code that quotes.
"""

from __future__ import annotations

import unicodedata

TURNS = ["human", "human user", "user", "ai", "ai assistant", "assistant", "agent", "model"]
VERDICTS = ["verdict", "final verdict", "outcome", "safety assessment", "the final answer", "label"]
# What opens a line, with a colon behind.
ANYWHERE = [*TURNS, "system", *VERDICTS, "answer", "answers", "response", "result"]
OPENINGS = {
    "llama-guard-3": [*ANYWHERE, "task"],
    "harmbench": [*ANYWHERE, "behavior", "generation", "rules"],
    "wildguard": [*ANYWHERE, "harmful request", "response refusal", "harmful response"],
    "rubric": ANYWHERE,
}
TAGS = [
    "begin unsafe content categories",
    "end unsafe content categories",
    "begin conversation",
    "end conversation",
]
ALONE = ["safe", "unsafe", "yes", "no", "refused", "complied", "neither", "S1", "S1, S10"]
OPENING_BRACKETS, CLOSING_BRACKETS = "<＜﹤‹«〈⟨《", ">＞﹥›»〉⟩》"


def plain(text: str) -> str:
    """Return letters and digits of `text` as NFKC and case folding leave them."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def is_colon(character: str) -> bool:
    """Return whether the character's name says that it is a colon or a ratio."""
    name = unicodedata.name(character, "")
    if name in ("COLON SIGN", "TAG COLON"):  # a currency; a character that nobody sees
        return False
    return name == "RATIO" or ("COLON" in name and "SEMICOLON" not in name)


def reading(line: str, kind: str) -> str | None:
    """Return as what a line of a prompt of `kind` reads: its words, or `rule`; None: as nothing."""
    openings = {plain(words): words for words in OPENINGS[kind]}
    for place, character in enumerate(line):
        if is_colon(character) and plain(line[:place]) in openings:
            return openings[plain(line[:place])]
    alone = {plain(words): words for words in ALONE}
    if plain(line) in alone:
        return alone[plain(line)]
    if kind == "llama-guard-3":
        if plain(line).startswith("provideyoursafetyassessment"):
            return "provide your safety assessment"
    elif kind != "rubric" and is_rule(line):
        return "rule"
    return None


def is_rule(line: str) -> bool:
    """Return whether three dashes or more, and blanks, are all there is."""
    seen = [c for c in line if not c.isspace()]
    return len(seen) >= 3 and all(unicodedata.category(c) == "Pd" for c in seen)


def tags(prompt: str) -> list[str]:
    """Return the words of the tags anywhere in a prompt."""
    named = {plain(words): words for words in TAGS}
    found = []
    for start, character in enumerate(prompt):
        if character in OPENING_BRACKETS:
            rest = prompt[start + 1 :]
            ends = [end for end, character in enumerate(rest) if character in CLOSING_BRACKETS]
            inside = {plain(rest[:end]) for end in ends[:1]}
            found += [named[words] for words in inside & named.keys()]
    return found


def readings(prompt: str, kind: str) -> list[str]:
    """Return as what the lines and tags of a prompt read, in order."""
    lines = [reading(line, kind) for line in prompt.splitlines()]
    return [words for words in lines if words] + (tags(prompt) if kind == "llama-guard-3" else [])
