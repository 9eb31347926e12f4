"""Where an answer states its result: boxes, phrases, the last mathematics, the last number."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from components.core.patterns import read_patterns
from components.evaluate.graders.spelling import fold

_P = read_patterns(Path(__file__).with_suffix(".yaml"))
LONGEST = 8000  # characters that are read; an answer is at its end
_NEAR_THE_END = 2000  # characters in which a phrase may state the result

_FAR = 200  # characters before the last digit in which the other numbers are
_LONGEST_RUN = 400  # characters before the last digit that may belong to its number
_NAMES = frozenset({"sqrt", "pi", "mod", "log", "ln", "exp", "sin", "cos", "tan"})
_BINARY = frozenset("+*/^=<>×÷·≤≥≠≈±") | {"-"}
_EMPHASIS = "*_` \t"


@dataclass(frozen=True, slots=True)
class Box:
    """A closed box: where it starts and ends, and what is in it."""

    start: int
    end: int
    content: str


@dataclass(frozen=True, slots=True)
class Text:
    """What an answer says, folded, with its boxes."""

    text: str  # up to a box that was cut off
    boxes: tuple[Box, ...]  # outermost ones
    cut: bool  # a box was opened and not closed

    @classmethod
    def of(cls, answer: str) -> Text:
        """Return the end of an answer as it is read."""
        text = _P["TAG"].sub(" ", fold(answer[-LONGEST:]))
        boxes: list[Box] = []
        opened: list[tuple[bool, int, int]] = []  # whether a box, start, start of the content
        for match in _P["BOX_OR_BRACE"].finditer(text):
            if match[0] == "{" or match[0].startswith(("\\boxed", "\\fbox", "\\framebox")):
                opened.append((match[0] != "{", match.start(), match.end()))
            elif match[0] == "}" and opened:
                is_box, start, inner = opened.pop()
                if is_box:
                    boxes = [box for box in boxes if box.start < start]
                    boxes.append(Box(start, match.end(), text[inner : match.start()].strip()))
        boxes = [box for box in boxes if not _P["DENIED_BOX"].search(text[: box.start][-20:])]
        unclosed = [start for is_box, start, _ in opened if is_box]
        if unclosed:
            text = text[: unclosed[0]]
            boxes = [box for box in boxes if box.end <= len(text)]
        return cls(text, tuple(boxes), bool(unclosed))

    @property
    def last_boxes(self) -> tuple[str, ...]:
        """The content of the last box, behind that of boxes which are one result with it."""
        joined: list[Box] = []
        for box in reversed(self.boxes):
            if joined and not _P["JOINED"].fullmatch(self.text[box.end : joined[0].start]):
                break
            joined.insert(0, box)
        return tuple(dict.fromkeys(box.content for box in joined))

    @property
    def without_boxes(self) -> str:
        """The text with a blank in the place of every box."""
        parts, position = [], 0
        for box in self.boxes:
            parts.append(self.text[position : box.start])
            position = box.end
        return " ".join([*parts, self.text[position:]])

    def stated(self, names_result: Callable[[str], bool]) -> tuple[str, ...]:
        """Return what is stated as the result, in the last of the forms that `names_result`.

        Several are what several boxes hold. Nothing is stated where the last box was cut off.
        """
        if self.cut:
            return ()
        phrases = [
            match
            for match in _P["STATES"].finditer(self.text, max(len(self.text) - _NEAR_THE_END, 0))
            if not any(box.start < match.start() < box.end for box in self.boxes)
        ]
        boxed = self.last_boxes
        while phrases or boxed:
            if boxed and (not phrases or phrases[-1].end() <= self.boxes[-1].start):
                if all(map(names_result, boxed)):
                    return boxed
                boxed = ()
                continue
            statement = self._statement(phrases.pop().end())
            if not _P["REMARK"].match(statement) and names_result(statement):
                return (statement,)
        return ()

    def _statement(self, start: int) -> str:
        text = self.text[start:]
        block = _P["BLOCK"].match(text)
        if block is not None:
            return (block[1] or block[2]).strip()
        text = text.strip()
        end = _P["SENTENCE_END"].search(text)
        if end is None:
            return text.strip(_EMPHASIS)
        return "" if end[0] == "?" else text[: end.start()].strip(_EMPHASIS)  # it asks


def first_part(statement: str) -> tuple[str, str, bool]:
    """Return the formula or word that a statement begins with, what is behind it up to a reason,
    and whether it is a formula."""
    formula = _P["FIRST_FORMULA"].match(statement.strip())
    if formula is not None:
        first, rest = formula[1] or formula[2], formula[3]
    else:
        first, _, rest = _P["BOLD"].sub("", statement).strip().partition(" ")
    return first, _P["REASON"].split(rest, maxsplit=1)[0], formula is not None


def last_mathematics(text: str) -> tuple[str, int] | None:
    """Return the content of the last formula between delimiters, and where it ends."""
    found = None
    for match in _P["SPAN"].finditer(text):
        content = next(part for part in match.groups() if part is not None)
        if match["inline"] is None or not _P["MONEY"].match(content):
            found = content, match.end()
    return found


def undenied(text: str) -> str:
    """Return the text without the numbers that it denies, as `not 5`, or compares with, as `more
    than 5`, with `negative 5` as -5 and `5 x 10^3` as a product."""
    affirmed = _P["NEGATIVE"].sub("-", _P["DENIED"].sub(" ", text))
    return _P["TIMES"].sub(r" \\times ", affirmed)


def left_open(text: str, end: int, *, listed: bool) -> str:
    """Return `4 or 5`, `between 4 and 5`, `3 out of 5`, `(4, 5)` or `4 feet 5 inches` where the
    digit before `end` is the last of such numbers, and `4 and 5` if such are `listed`; an empty
    text where it stands alone."""
    start = max(end - _FAR, 0)
    for whole in _P["COMPOUND"].finditer(text, start, end + _FAR):
        if whole.start() < end - 1 and text[end : whole.end()].strip(" -").isalpha():
            return whole[0]
    endless = _P["TO_INFINITY"].match(text, end)
    stops = [endless.end()] if endless else [end + 2, end + 1, end]
    for form in ("SEVERAL", "LISTED") if listed else ("SEVERAL",):
        for stop in stops:
            found = _P[form].search(text, start, stop)
            if found is not None and found.end() >= end:
                return found[0]
    return ""


# --- the last number of a text, with what belongs to it: `3 + 4 = 7`, `1 1/2`, `5 million` --------


def last_run(text: str) -> tuple[str, int]:
    """Return the formula that the last digit of a text belongs to, and where the digit is.

    An empty text, and 0, for a text without digits. Powers of units, as in cm^2, and digits behind
    letters are no numbers.
    """
    bare = _P["NO_NUMBER"].sub(lambda match: "x" * len(match[0]), text)
    end = next((i for i in range(len(bare), 0, -1) if "0" <= bare[i - 1] <= "9"), 0)
    if end == 0:
        return "", 0
    start = max(end - _LONGEST_RUN, 0)
    while 0 < start < end and text[start - 1].isalnum():
        start += 1
    pieces = [(m.lastgroup or "", m[0]) for m in _P["TOKEN"].finditer(text, start, end)]
    run = _belonging(pieces)
    trailing = _P["TRAILING"].match(text, end)
    return _balanced(run + (trailing[0] if trailing else "")), end


def _belonging(pieces: list[tuple[str, str]]) -> str:
    """Return the pieces at the end that are one formula, as text."""
    run: list[tuple[str, str]] = []
    for kind, piece in reversed(pieces):
        if kind in ("stop", "other") or piece in ("=", "≈"):
            break
        if kind == "word" and len(piece) > 1 and piece not in _NAMES:
            if not piece.isalpha():
                return piece + "".join(word for _, word in run)  # digits within a word
            if not _within_braces(run):
                break
        run.insert(0, (kind, piece))
        if kind == "space" and not _goes_on(pieces, run):
            break
    return _without_bullet(run)


def _within_braces(run: list[tuple[str, str]]) -> bool:
    """Return whether a brace closes that was opened before the run."""
    depths = accumulate((piece == "{") - (piece == "}") for _, piece in run)
    return min(depths, default=0) < 0


def _goes_on(pieces: list[tuple[str, str]], run: list[tuple[str, str]]) -> bool:
    """Return whether what is before the space at the front of `run` belongs to what is behind."""
    before = pieces[: len(pieces) - len(run)]
    if not before:
        return False
    kind, piece = before[-1]
    if _within_braces(run[1:]):
        return True
    after_kind, after = run[1] if len(run) > 1 else ("", "")
    if (kind == "operator" and piece in _BINARY) or (kind == "word" and piece in _NAMES):
        return True
    if after_kind == "operator" and after in _BINARY:
        signed = after in "-+" and len(run) > 2 and run[2][0] != "space"
        return kind in ("mixed", "close", "command") or (
            not signed and kind == "word" and len(piece) == 1
        )
    if kind == "command" or after_kind == "command":
        return kind in ("mixed", "close", "command", "operator")
    grouped = re.fullmatch(r"\d{3}|\d+/\d+", after) and re.fullmatch(r"\d{1,3}", piece)
    return kind == "mixed" and grouped is not None


def _without_bullet(run: list[tuple[str, str]]) -> str:
    """Return the text of a formula, without the dash or star of a list before it."""
    while run and (run[0][0] in ("space", "close") or run[0][1] in "*/%|_^"):
        del run[0]
    if len(run) > 1 and run[0][1] == "-" and run[1][0] == "space":
        del run[:2]
    return "".join(piece for _, piece in run)


def _balanced(run: str) -> str:
    """Return the run without brackets that have no other half in it."""
    pairs = {")": "(", "}": "{", "]": "["}
    opened: list[tuple[str, int]] = []
    odd: set[int] = set()
    for place, character in enumerate(run):
        if character in "({[":
            opened.append((character, place))
        elif character in pairs:
            if opened and opened[-1][0] == pairs[character]:
                opened.pop()
            else:
                odd.add(place)
    odd |= {place for _, place in opened}
    return "".join(c for place, c in enumerate(run) if place not in odd).strip()
