"""Multiple choice: whether an answer names the right option's letter, A to J."""

from __future__ import annotations

import re

from components.evaluate.graders.grade import GRADERS, Grade
from components.evaluate.graders.results import Text
from components.evaluate.graders.spelling import fold

_APART, _ENDED = r"(?<![A-Za-z0-9])(?<![A-Za-z]')", r"(?![A-Za-z0-9]|['-][A-Za-z])"
_LETTER = rf"{_APART}[A-Ja-j]{_ENDED}"
_COMMAND = re.compile(
    r"\\(?:text|math|mathbf|mathrm|textbf|textit|textrm|textsf|mathbb|bm|boldsymbol|mbox|boxed|fbox)"
    r"(?:rm|bf|it|sf)?(?![A-Za-z])|\\[()\[\],;:! ]|[{}$*_`]|\\quad|\\left|\\right"
)
_OPEN, _CLOSED = r"[\s(\[\"'<]*", r"[\s)\]\"'>]*"
_FIRST = re.compile(
    rf"{_OPEN}(?:(?:the\s+)?(?:correct\s+)?(?:option|choice|letter|answer)(?:\s+is)?:?\s+)?{_OPEN}"
    rf"({_LETTER})",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"\s*(?:$|[.):;,\]>\"'—-]|\((?!\s*(?:or|and)\b)|because\b|since\b"
    r"|rather than\b|instead of\b|not\b)"
)
_ANOTHER = re.compile(
    rf"{_CLOSED}(?:[,/&]|\bor\b|\band\b){_OPEN}(?:(?:option|choice)\s+)?{_LETTER}{_CLOSED}(?:$|[.,;)])"
    rf"|{_CLOSED}(?:[,/&]|\bor\b|\band\b){_OPEN}(?:(?:option|choice)\s+)?(?-i:(?<![A-Za-z0-9'])[A-J]"
    r"(?![A-Za-z0-9']|-[a-z]))",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    rf"{_CLOSED},?\s*(?:is|was|are|can|could|must|would|does|seems?)\s*(?:n't|\s(?:be\s+)?(?:not|never|"
    r"wrong|incorrect|false|out|impossible|eliminated|excluded|ruled out)\b|not\b)|"
    rf"{_CLOSED}\s*(?:isn't|wasn't|can't|cannot)\b",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    rf"(?:\b(?:not|never|nor|neither|except(?: for)?|(?:all|every\w*|any\w*) but|"
    rf"reject(?:s|ed)?|exclud(?:e|es|ed|ing)|"
    rf"eliminat(?:e|es|ed|ing)|rul(?:e|es|ed|ing) out|"
    rf"(?:cannot|not|n't) (?:be|choose|pick|select)|none of|instead of|rather than)|n't(?: be)?)"
    rf"(?:\s+(?:the\s+)?(?:option|choice|answer|letter))?{_OPEN}$",
    re.IGNORECASE,
)
_CAPITAL = re.compile(rf"(?<!\\){_APART}[A-J]{_ENDED}")
# Small letters are options in brackets and behind the word.
_SMALL = re.compile(
    r"[(\[]\s*([a-j])\s*[)\]]|\b(?:option|choice|answer(?:\s+is)?:?)\s+[\"']?([a-j])\b(?!\s+[a-z])",
)
# A letter that is a part of a name, a quantity or a formula is no option.
_NAMED_BEFORE = re.compile(
    r"(?:\b(?:vitamin|hepatitis|influenza|protein|cytochrome|immunoglobulin|streptococcus|complex|"
    r"factor|type|group|class|grade(?: of)?|stage|plan|point|angle|carbon)\s\(?"
    r"|\d\s?(?:°\s?)?|[+^]\s*)\Z",
    re.IGNORECASE,
)
_NAMED_AFTER = re.compile(r"\+|\#|\s(?:virus|programming|language)\b|[ ]?[+^]")
_BETWEEN = re.compile(
    r"[\s)(\]\[\"']*(?:[,/&]|\bor\b|\band\b|,\s*(?:or|and)\b)[\s)(\]\[\"']*", re.I
)
# The article and the pronoun are letters that stand alone, too.
_WORD = re.compile(r"\s+(?!is\b|was\b|because\b|since\b|and\b|or\b)[a-z0-9]")
_FORMULA = re.compile(r"[=<>+^\\]")


@GRADERS.register("choice")
def choice(answer: str, letter: str) -> Grade:
    """Return whether an answer chooses the option `letter`."""
    return Grade(flexible=ends_on_option(answer, letter), strict=states_option(answer, letter))


def states_option(answer: str, letter: str) -> bool:
    """Return whether the last form that states an option states this one, and no second."""
    stated = Text.of(answer).stated(lambda statement: _named(statement) is not None)
    return {_named(statement) for statement in stated} == {letter.strip()}


def ends_on_option(answer: str, letter: str) -> bool:
    """Return whether the last option that is named is `letter`.

    That is the last box's, where it names one, or else the last letter that stands alone and is
    not denied. Small letters count in brackets, behind `option`, or as the whole answer.
    """
    text = Text.of(answer)
    for content in reversed(text.last_boxes):
        options = _standing(content) if not _FORMULA.search(_plain(content)) else []
        one = options[-1] if len(set(options)) == 1 else ""
        if (named := _named(content) or (one if options else None)) is not None:
            return len(text.last_boxes) == 1 and named == letter.strip()
    found = _standing(text.without_boxes)
    if not found and (whole := re.fullmatch(rf"\W*({_LETTER})\W*", _plain(text.without_boxes))):
        found = [whole[1].upper()]
    return bool(found) and found[-1] == letter.strip()


def _plain(text: str) -> str:
    return _COMMAND.sub(" ", fold(text)).strip()


def _named(statement: str) -> str | None:
    """Return the letter that a statement begins with; None where it names none, or a second."""
    text = _plain(statement)
    first = _FIRST.match(text)
    if first is None:
        return None
    rest = text[first.end() :]
    if not _ENDS.match(rest) or _ANOTHER.match(rest) or _DENIED_AFTER.match(rest):
        return None
    return first[1].upper()


def _standing(text: str) -> list[str]:
    """Return the letters that stand alone and are not denied, in order; an empty text for several
    that are named together, as `B or C`."""
    text = _plain(text)
    found = [
        (match.start(), match[0], match.end())
        for match in _CAPITAL.finditer(text)
        if match[0] not in "AI" or not _WORD.match(text, match.end())
    ]
    found += [
        (match.start(), (match[1] or match[2]).upper(), match.end())
        for match in _SMALL.finditer(text)
    ]
    together: list[tuple[int, str, int]] = []
    for start, letter, end in sorted(found):
        if _NAMED_BEFORE.search(text[max(start - 60, 0) : start]) or _NAMED_AFTER.match(text, end):
            continue
        if together and _BETWEEN.fullmatch(text[together[-1][2] : start]):
            begun, other, _ = together.pop()
            together.append((begun, letter if letter == other else "", end))
        else:
            together.append((start, letter, end))
    return [
        letter
        for start, letter, end in together
        if not _DENIED_BEFORE.search(text[max(start - 60, 0) : start])
        and not _DENIED_AFTER.match(text, end)
    ]
