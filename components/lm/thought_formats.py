"""The marks that models put around their thoughts and answers: a table, open at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ThoughtFormat:
    """The marks around a thought: how they are written, and what is read as them."""

    opening: str
    closing: str
    blank: str = "\n"  # between marks and thought
    answer: tuple[str, str] = ("", "")  # around an answer that follows a thought
    alone: str = ""  # before an answer without a thought
    sign: str = ""  # what tells in a template or vocabulary; "": the opening mark
    prose: bool = False  # the marks are ordinary words, and count at the beginning only
    _open: str = field(default="", repr=False)
    _close: str = field(default="", repr=False)

    @property
    def begins(self) -> str:
        """What opens a thought."""
        return self.opening + self.blank

    @property
    def ends(self) -> str:
        """What closes a thought and begins the answer."""
        gap = "\n\n" if self.blank else ""
        return f"{self.blank}{self.closing}{gap}{self.answer[0]}"

    @property
    def opens(self) -> re.Pattern[str]:
        """What is read as an opening mark, in small letters or capitals."""
        return re.compile(self._open or re.escape(self.opening), re.IGNORECASE)

    @property
    def closes(self) -> re.Pattern[str]:
        """What is read as a closing mark, in small letters or capitals."""
        return re.compile(self._close or re.escape(self.closing), re.IGNORECASE)


def _tags(name: str) -> ThoughtFormat:
    """Return the format of tags; a model that spells them out may put blanks within."""
    blanks = rf"\s{{0,2}}{name}\s{{0,2}}"
    return ThoughtFormat(f"<{name}>", f"</{name}>", _open=f"<{blanks}>", _close=rf"<\s?/{blanks}>")


THINK = _tags("think")
_ROLE, _SETTINGS = r"(?:<\|start\|>\s*assistant[^<]*)?", r"(?:[^<]|<\|constrain\|>)*<\|message\|>"
# What the user, or a tool, gets to see: `final`, and `commentary` that nothing follows.
_FINAL = rf"<\|channel\|>\s*(?:final|commentary(?![\s\S]*<\|channel\|>)){_SETTINGS}"
# The format of gpt-oss: a turn is messages in channels, of which the last is the answer.
HARMONY = ThoughtFormat(
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    blank="",
    alone="<|channel|>final<|message|>",
    sign="<|channel|>",
    _open=rf"{_ROLE}(?!{_FINAL})<\|channel\|>\s*(?:analysis|commentary){_SETTINGS}",
    _close=rf"(?:<\|(?:end|call)\|>\s*)?{_ROLE}{_FINAL}",
)
FORMATS = (
    THINK,
    HARMONY,
    ThoughtFormat(  # OpenThinker-7B, after OpenThoughts-114k
        "<|begin_of_thought|>",
        "<|end_of_thought|>",
        answer=("<|begin_of_solution|>\n", "\n<|end_of_solution|>"),
    ),
    ThoughtFormat("[THINK]", "[/THINK]"),  # Magistral
    ThoughtFormat("◁think▷", "◁/think▷"),  # Kimi-VL
    ThoughtFormat("<seed:think>", "</seed:think>"),  # Seed-OSS
    ThoughtFormat("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ThoughtFormat("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ThoughtFormat("<unused94>thought", "<unused95>"),  # MedGemma
    ThoughtFormat("<|channel>thought", "<channel|>"),  # Gemma 4
    ThoughtFormat("<|think|>", "<|/think|>"),
    *map(_tags, ("thinking", "thought", "Thought", "reasoning", "reason", "scratchpad")),
    ThoughtFormat(  # HuatuoGPT-o1
        "## Thinking",
        "## Final Response",
        prose=True,
        _open=r"#{1,4} ?Thinking\b",
        _close=r"#{1,4} ?Final Response\b",
    ),
    ThoughtFormat(  # Granite 3.2
        "Here is my thought process:",
        "Here is my response:",
        prose=True,
        _open=r"Here(?: is|['’]s) my thought process:",
        _close=r"Here(?: is|['’]s) my response:",
    ),
)
# What models put around an answer: those of the first kind wherever it begins with them, those of
# the second behind a thought only.
SPECIAL = (
    (rf"(?:{_ROLE}{_FINAL})?", r"<\|(?:end|return|call)\|>"),
    (r"<\|begin_of_solution\|>", r"<\|end_of_solution\|>"),
    (r"<\|START_RESPONSE\|>", r"<\|END_RESPONSE\|>"),
)
TAGGED = tuple(
    (rf"<{name}>", rf"</{name}>")
    for name in ("answer", "response", "output", "solution", "final", "final_answer")
)
_ANSWER_BEGINS = re.compile(rf"\s*(?:{'|'.join(opening for opening, _ in TAGGED)})", re.IGNORECASE)
# A mark of any kind, and the words that tell one that models put around their thoughts.
MARK = re.compile(r"[<\[◁][|｜]?/?(?P<name>[A-Za-z][\w:.-]{1,40})[|｜]?[>\]▷]")
SPEAKS_OF_THOUGHT = re.compile(
    r"think|thought|reason|reflect|ponder|deliberat|scratch|rational|monolog|inner|cot\b"
)
_END = {"begin": "end", "start": "end", "open": "close", "prefix": "suffix"}
_BEGIN = re.compile("|".join(_END), re.IGNORECASE)
# What stands within a thought and is no end of it: Seed-OSS's budget, Reflection's second look.
_WITHIN = re.compile(r"</?(?:seed:cot_budget_reflect|reflection)>")


def reads(mark: str) -> bool:
    """Return whether a mark is one of those that tell a thought from an answer."""
    known = {m.lower() for form in FORMATS for m in (form.opening, form.closing, form.sign)}
    return mark.lower() in known or bool(_WITHIN.fullmatch(mark))


def unnamed_format(text: str, start: int, *, finished: bool) -> tuple[ThoughtFormat, int] | None:
    """Return the format of a mark that no format has, but that speaks of thoughts and is closed, or
    whatever it speaks of, is closed right before an answer in marks."""
    found = MARK.match(text, start)
    if found is None or "/" in found[0]:
        return None
    opening, name = found[0], found["name"]
    ended = _BEGIN.sub(lambda word: _END[word[0].lower()], name)
    closing = opening.replace(name, f"/{name}" if ended == name else ended)
    close = text.find(closing, found.end())
    if not SPEAKS_OF_THOUGHT.search(found[0].lower()):
        if close < 0 or not _ANSWER_BEGINS.match(text, close + len(closing)):
            return None
    elif finished and close < 0:
        return None
    return ThoughtFormat(opening, closing), found.end()
