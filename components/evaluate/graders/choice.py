"""Multiple choice: whether an answer names the right option's letter, A to J."""

from __future__ import annotations

from pathlib import Path

from components.core.patterns import read_patterns
from components.evaluate.graders.grade import GRADERS, Grade
from components.evaluate.graders.results import Text
from components.evaluate.graders.spelling import fold

_P = read_patterns(Path(__file__).with_suffix(".yaml"))


@GRADERS.register("choice")
def choice(answer: str, letter: str) -> Grade:
    """Return whether an answer chooses the option `letter`.

    Strictly, the last form that states an option states this one, and no second. Flexibly, it is
    the last one named: in the last box, or else the last letter that stands alone and is not
    denied. Small letters count in brackets, behind `option`, or as the whole answer.
    """
    text, letter = Text.of(answer), letter.strip()
    stated = text.stated(lambda statement: _named(statement) is not None)
    strict = {_named(statement) for statement in stated} == {letter}
    return Grade(flexible=strict or _last(text) == letter != "", strict=strict)


def _last(text: Text) -> str:
    """Return the option that is named last; an empty text for none, or for several together."""
    for content in reversed(text.last_boxes):
        options = set() if _P["FORMULA"].search(_plain(content)) else set(_standing(content))
        one = options.pop() if len(options) == 1 else None
        if (named := _named(content) or one) is not None:
            return named if len(text.last_boxes) == 1 else ""
    if (opening := _opening(text.without_boxes)) is not None:
        return opening
    if found := _standing(text.without_boxes):
        return found[-1]
    whole = _P["ALONE"].fullmatch(_plain(text.without_boxes))
    return whole[1].upper() if whole else ""


def _opening(text: str) -> str | None:
    """Return the letter that one line begins with and chooses, as `B, since D is too large` does;
    None where options are listed."""
    text = _plain(text)
    first = _P["FIRST"].match(text)
    if first is None or "\n" in text or len(_P["LISTED"].findall(text)) > 1:
        return None
    chosen = _P["CHOSEN"].match(text, first.end())
    return first[1].upper() if chosen else _named(text)


def _plain(text: str) -> str:
    return _P["COMMAND"].sub(" ", fold(text)).strip()


def _named(statement: str) -> str | None:
    """Return the letter that a statement begins with; None where it names none, or a second."""
    text = _plain(statement)
    first = _P["FIRST"].match(text)
    if first is None:
        return None
    rest = text[first.end() :]
    more = _P["ANOTHER"].match(rest) or _P["DENIED_AFTER"].match(rest)
    return first[1].upper() if _P["ENDS"].match(rest) and not more else None


def _standing(text: str) -> list[str]:
    """Return the letters that stand alone and are not denied, in order; an empty text for several
    that are named together, as `B or C`."""
    text = _plain(text)

    def before(start: int, form: str) -> bool:
        return _P[form].search(text[max(start - 60, 0) : start]) is not None

    found = [
        (match.start(), match[0], match.end())
        for match in _P["CAPITAL"].finditer(text)
        if match[0] not in "AI" or not _P["WORD"].match(text, match.end())
    ]
    found += [(m.start(), (m[1] or m[2]).upper(), m.end()) for m in _P["SMALL"].finditer(text)]
    together: list[tuple[int, str, int]] = []
    for start, letter, end in sorted(found):
        if before(start, "NAMED_BEFORE") or _P["NAMED_AFTER"].match(text, end):
            continue
        if together and _P["BETWEEN"].fullmatch(text[together[-1][2] : start]):
            begun, other, _ = together.pop()
            together.append((begun, letter if letter == other else "", end))
        else:
            together.append((start, letter, end))
    return [
        letter
        for start, letter, end in together
        if not before(start, "DENIED_BEFORE") and not _P["DENIED_AFTER"].match(text, end)
    ]
