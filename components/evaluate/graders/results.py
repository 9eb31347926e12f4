"""Where an answer states its result: boxes, phrases, the last mathematics, the last number."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from components.evaluate.graders.denials import DENIED_BOX
from components.evaluate.graders.spelling import fold

LONGEST = 8000  # characters that are read; an answer is at its end
_NEAR_THE_END = 2000  # characters in which a phrase may state the result

_TAG = re.compile(r"</?(?:answer|final_answer|b|strong|p|br)\s*/?>", re.IGNORECASE)
_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\\.|[{}]", re.DOTALL)
_STATES = re.compile(r"\banswer\b[*_]*(?:\s*\}\s*)?\s*(?:is\b\s*:?|:)[*_]*|####", re.IGNORECASE)
# "The answer is correct" tells of a result that was stated before.
_REMARK = re.compile(
    r"(?:(?:indeed|clearly|thus|therefore|also|both|now)\s+)*(?:correct|right|wrong|incorrect|verified|"
    r"confirmed|consistent|valid|reasonable|checked|plausible|as (?:above|before|expected)|above|"
    r"below|the same|in the box|complete|final)\b(?!\s+(?:answer|option|choice|is))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_BLOCK = re.compile(r"\s*(?:\$\$(.+?)\$\$|\\\[(.+?)\\\])", re.DOTALL)
_SPAN = re.compile(
    r"\$\$(?P<display>.+?)\$\$|\\\[(?P<square>.+?)\\\]|\\\((?P<round>.+?)\\\)"
    r"|(?<!\\)\$(?P<inline>[^$\n]+?)(?<!\\)\$(?!\d)",
    re.DOTALL,
)
_MONEY = re.compile(r"\d[\d.,]*(?:\s[^\\=]*[A-Za-z]{2}|.*\s$)")
# What stands between boxes that are one result together.
_JOINED = re.compile(
    r"(?:[\s$,;.&]|\\[()\[\],;!]|\\(?:text|mathrm|quad|qquad)\b|[{}]|\band\b|\bor\b"
    r"|\b[a-zA-Z](?:_\w)?\s*=)*"
)
_FIRST_FORMULA = re.compile(r"(?:\$([^$]+)\$|\\\((.+?)\\\))(.*)", re.DOTALL)
_REASON = re.compile(r"\b(?:because|since)\b")
_BOLD = re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w({\\])")
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
        text = _TAG.sub(" ", fold(answer[-LONGEST:]))
        boxes: list[Box] = []
        opened: list[tuple[bool, int, int]] = []  # whether a box, start, start of the content
        for match in _BOX_OR_BRACE.finditer(text):
            if match[0] == "{" or match[0].startswith(("\\boxed", "\\fbox", "\\framebox")):
                opened.append((match[0] != "{", match.start(), match.end()))
            elif match[0] == "}" and opened:
                is_box, start, inner = opened.pop()
                if is_box:
                    boxes = [box for box in boxes if box.start < start]
                    boxes.append(Box(start, match.end(), text[inner : match.start()].strip()))
        boxes = [box for box in boxes if not DENIED_BOX.search(text[: box.start][-20:])]
        unclosed = [start for is_box, start, _ in opened if is_box]
        if unclosed:
            text = text[: unclosed[0]]
            boxes = [box for box in boxes if box.end <= len(text)]
        return cls(text, tuple(boxes), bool(unclosed))

    @property
    def last_boxes(self) -> tuple[str, ...]:
        """The content of the last box, behind that of boxes which are one result with it."""
        kept: list[Box] = []
        for box in reversed(self.boxes):
            if kept and not _JOINED.fullmatch(self.text[box.end : kept[0].start]):
                break
            kept.insert(0, box)
        return tuple(dict.fromkeys(box.content for box in kept))

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
            for match in _STATES.finditer(self.text, max(len(self.text) - _NEAR_THE_END, 0))
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
            if not _REMARK.match(statement) and names_result(statement):
                return (statement,)
        return ()

    def _statement(self, start: int) -> str:
        text = self.text[start:]
        block = _BLOCK.match(text)
        if block is not None:
            return (block[1] or block[2]).strip()
        return _SENTENCE_END.split(text.strip(), maxsplit=1)[0].strip(_EMPHASIS)


def first_part(statement: str) -> tuple[str, str, bool]:
    """Return the formula or word that a statement begins with, what is behind it up to a reason,
    and whether it is a formula."""
    formula = _FIRST_FORMULA.match(statement.strip())
    if formula is not None:
        first, rest = formula[1] or formula[2], formula[3]
    else:
        first, _, rest = _BOLD.sub("", statement).strip().partition(" ")
    return first, _REASON.split(rest, maxsplit=1)[0], formula is not None


def last_mathematics(text: str) -> tuple[str, int] | None:
    """Return the content of the last formula between delimiters, and where it ends."""
    found = None
    for match in _SPAN.finditer(text):
        content = next(part for part in match.groups() if part is not None)
        if match["inline"] is None or not _MONEY.match(content):
            found = content, match.end()
    return found
