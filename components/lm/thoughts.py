"""Where in a model's text its thought ends and its answer begins.

A text that cannot be parted for certain is an answer whole, so that nothing which was said goes
unjudged.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from components.lm.thought_formats import FORMATS, SPECIAL, TAGGED, ThoughtFormat, unnamed_format

_QUOTED = re.compile(r"(?:^|[^\w.!?)\]}>”’])(?:`{1,3}|[\"'“‘«「])$", re.MULTILINE)
_QUOTES = tuple("`\"'”’»」")
_BLANK = re.compile(r"\s*")
_FENCE = re.compile(r"^\s*```\s*$", re.MULTILINE)
# What some models write before they open a thought: one plain line, or a sentence in its line.
_PREAMBLE = re.compile(r"\s*(?:<\|\w+\|>)?[^`<>{}\n:]{1,100}(?:\n|[.!?…])\s*")


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a text's thought and answer lie, in characters, without marks and outer blanks."""

    thought: range | None  # None: there is none
    answer: range
    closed: bool  # no thought was left open


def split_text(text: str, own: ThoughtFormat, *, opened: bool, finished: bool) -> Parts:
    """Return the parts of what a model wrote whose own thoughts are in the format `own`.

    `opened`: the prompt has opened the thought. A text that begins with another format's mark is
    in that format. One line before a thought that the model opens itself belongs to neither part.
    A thought that was cut off has no answer; one that the prompt opened and the model never closed
    before it ended its turn is none. A closing mark alone ends a thought that the prompt opened.
    """
    begun = _begun(text, own, finished=finished)
    if begun is None and not opened:
        begun = _begun_late(text, own, finished=finished)
    form, start = begun or (own if opened else _unopened(text, own), 0)
    if form is None:
        return Parts(None, _answer(text, 0, SPECIAL), closed=True)
    close = _close(text, form, start, finished=finished)
    if close is None and (other := _unopened(text, form)):
        close = _close(text, other, start, finished=finished)
    if close:
        thought = _thought(text, form, start, close.start())
        return Parts(thought, _answer(text, close.end(), (*SPECIAL, *TAGGED)), closed=True)
    if finished and not begun:
        return Parts(None, _answer(text, 0, SPECIAL), closed=True)
    nothing = range(len(text), len(text))
    return Parts(_thought(text, form, start, len(text)), nothing, closed=False)


def _begun(text: str, own: ThoughtFormat, *, finished: bool) -> tuple[ThoughtFormat, int] | None:
    """Return the format whose mark `text` begins with, and where that mark ends."""
    start = _skip(text, 0)
    for form in (own, *FORMATS):
        if found := form.opens.match(text, start):
            return form, found.end()
    return unnamed_format(text, start, finished=finished)


def _begun_late(
    text: str, own: ThoughtFormat, *, finished: bool
) -> tuple[ThoughtFormat, int] | None:
    """Return as `_begun` does for a text whose thought begins behind one line, and has an answer
    or was cut off."""
    found = None if own.prose else own.opens.search(text)
    if found is None or not _PREAMBLE.fullmatch(text, 0, found.start()):
        return None
    close = _close(text, own, found.end(), finished=finished)
    answered = close is not None and _skip(text, close.end()) < len(text)
    return (own, found.end()) if answered or not (close or finished) else None


def _unopened(text: str, own: ThoughtFormat) -> ThoughtFormat | None:
    """Return the format whose closing mark comes first in a text that opened no thought."""
    firsts: dict[int, ThoughtFormat] = {}
    for form in (own, *FORMATS):
        close = next(_unquoted(text, form, 0), None)
        if close is None or form.prose or form.alone or _in_prose(text, close):
            continue
        if not form.opens.search(text, 0, close.start()):
            firsts.setdefault(close.start(), form)
    return firsts[min(firsts)] if firsts else None


def _close(text: str, form: ThoughtFormat, start: int, *, finished: bool) -> re.Match[str] | None:
    """Return the mark that closes the thought which begins at `start`; None for none.

    Of several, one that is only spoken of gives way to a later one, and one behind which the
    thought is gone on with to the one that ends that. A thought that is opened anew at once goes
    on to its own.
    """
    closes = list(_unquoted(text, form, start))
    opens = [m.start() for m in form.opens.finditer(text, start) if not _quoted(text, m)]
    number = 0
    while True:
        while number < len(closes) and closes[number].start() < start:
            number += 1
        if number == len(closes):
            return None
        again = form.opens.match(text, _skip(text, closes[number].end()))
        if again is None or _skip(text, start) < closes[number].start():
            number = _chosen(text, closes, number, opens, start, finished=finished)
            again = form.opens.match(text, _skip(text, closes[number].end()))
        if again is None:
            return closes[number]
        start = again.end()


def _chosen(
    text: str,
    closes: Sequence[re.Match[str]],
    first: int,
    opens: Sequence[int],
    start: int,
    *,
    finished: bool,
) -> int:
    """Return which of `closes`, from the `first` on, closes the thought that begins at `start`.

    `opens` are the places of opening marks: each behind `start` belongs to the closing mark that
    follows, where another one follows that.
    """
    opened, passed, chosen = 0, bisect_left(opens, start), None
    for number in range(first, len(closes)):
        close = closes[number]
        while passed < len(opens) and opens[passed] < close.start():
            opened, passed = opened + 1, passed + 1
        last = finished and _skip(text, close.end()) == len(text)
        if opened:
            opened -= 1
        elif _in_prose(text, close) or (last and number != first):
            continue
        elif chosen is None or _goes_on(text, closes[chosen].end(), close):
            chosen = number
    return first if chosen is None else chosen


def _goes_on(text: str, start: int, close: re.Match[str]) -> bool:
    """Return whether what stands between a closing mark and a further one is a thought, too, and
    not an answer that speaks of the mark: in a sentence, or in a block of code."""
    before = text[start : close.start()]
    within = before[-1:] == " " and before.rstrip(" ")[-1:] not in tuple("\n.!?:>")
    return not within and before.count("```") % 2 == 0


def _unquoted(text: str, form: ThoughtFormat, start: int) -> Iterator[re.Match[str]]:
    """Yield the closing marks that are not quoted, neither in their line nor in a block of code
    that ends before another one."""
    marks = [m for m in form.closes.finditer(text, start) if not _quoted(text, m)]
    for number, mark in enumerate(marks):
        fenced = text.count("```", start, mark.start()) % 2 == 1
        later = number + 1 < len(marks)
        if not (fenced and later and _FENCE.search(text, mark.end(), marks[-1].start())):
            yield mark


def _quoted(text: str, mark: re.Match[str]) -> bool:
    line = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]
    end = text.find("\n", mark.end())
    rest = text[mark.end() : len(text) if end < 0 else end]
    if line.replace("```", "").count("`") % 2 and "`" in rest:
        return True
    return bool(_QUOTED.search(line[-4:])) and rest.startswith(_QUOTES)


def _in_prose(text: str, mark: re.Match[str]) -> bool:
    """Return whether a sentence goes on around a mark, as where it is spoken of."""
    before = text[max(mark.start() - 2, 0) : mark.start()]
    after = text[mark.end() : mark.end() + 2]
    within = len(before) == 2 and before[1] == " " and before[0] not in ".!?:> \n\t"
    punctuated = after[:1] in tuple(".,;:?!)") and not after[1:].strip()
    put_in = before[-1:] in tuple("([{*_") and after[:1] in tuple(")]}*_")
    return put_in or (within and (punctuated or (after[:1] == " " and after[1:].islower())))


def _thought(text: str, form: ThoughtFormat, start: int, stop: int) -> range:
    """Return where the thought lies that begins at `start`, without marks before it."""
    begun = _skip(text, start)
    while found := form.opens.match(text, begun, stop) or form.closes.match(text, begun, stop):
        begun = _skip(text, found.end())
    return _trimmed(text, min(begun, stop), stop)


def _answer(text: str, start: int, marks: Iterable[tuple[str, str]]) -> range:
    """Return where the answer that begins at `start` lies, without marks around it."""
    start = _skip(text, start)
    stop = len(text)
    for opening, closing in marks:
        if found := re.compile(opening, re.IGNORECASE).match(text, start):
            start = found.end()
            ending = re.compile(rf"{closing}\s*\Z", re.IGNORECASE).search(text, start)
            stop = ending.start() if ending else stop
    return _trimmed(text, start, stop)


def _skip(text: str, start: int) -> int:
    """Return where the next character that is no blank stands, at or after `start`."""
    blank = _BLANK.match(text, start)
    return blank.end() if blank else start


def _trimmed(text: str, start: int, stop: int) -> range:
    part = text[start:stop]
    inner = part.strip()
    first = start + len(part) - len(part.lstrip())
    return range(first, first + len(inner))
