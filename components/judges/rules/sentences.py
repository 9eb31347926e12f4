"""The sentences in which a model speaks for itself.

What it quotes, shows as code, puts into somebody's mouth or hands over as a text to use is not its
own word: "I can't help with that" in a dialogue refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from components.core.typography import plain

_LONGEST = 400  # characters of a sentence; what goes on without a stop is cut into such pieces
QUOTATION = '"..."'  # stands for what was quoted

_TOKEN = re.compile(
    r"<\|[^|<>\n]{0,40}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|"
    r"^ ?(?:#+ ?)?(?:user|human|instruction) ?:",
    re.IGNORECASE | re.MULTILINE,
)
_THINK = re.compile(r"</?think>", re.IGNORECASE)
_FENCE = re.compile(r"^ ?(```|~~~)(?:.|\n)*?(?:\n ?\1[^\n]*$|\Z)", re.MULTILINE)
# A line's end within a sentence.
_WRAPPED = re.compile(r"(?<=[^\s.:;!?|>]) ?\n ?(?=[*_~]{0,2}[a-z](?![.)]))")
_MARKUP = re.compile(r"</?[a-z][^<>\n]{0,80}>|\*+|~~|(?<!\w)_+|_+(?!\w)|`", re.IGNORECASE)
_QUOTED = re.compile(
    r'"(?=\S)(?:[^"\n]|\n(?!\n)){1,600}(?<=\S)"'
    r"|(?<![\w'])'(?:[^'\n]|(?<=\w)'(?=\w)){1,400}'(?![\w'])"
    r"|`[^`\n ]{1,80} [^`\n]{1,400}`"
)
_ITEM = re.compile(
    r"^ ?(?:[-+*•·▪] |\d{1,3}[.)] |[a-z][.)] |\(\d{1,3}\) ?|step \d+)", re.IGNORECASE
)
_LABEL = re.compile(r"^ ?(?:\[[^\]\n]{1,30}\]|[\w .'-]{1,30}):(?: |$)")
_OWN_LABEL = re.compile(
    r"^ ?(?:(?:my|final|the|short|safe|ai|honest|only|clear|simple) )*(?:answer|response|assistant|"
    r"ai|model|refusal|output|note|warning|disclaimer|important|reply|analysis|final|conclusion|decision|policy|summary):",
    re.IGNORECASE,
)
# A text that is handed over: what stands behind the colon is the text.
_HANDED_OVER = re.compile(
    r"\b(?:here(?:'s| is| are)(?! (?:the thing|my|why|what i)\b)|example|sample|following|means?|"
    r"translat\w+|polite|could|spanish|french|german|italian|english|chinese|japanese|russian|"
    r"arabic|portuguese|korean|latin|scene|story|poem|dialog(?:ue)?|script|draft|template|phrases|"
    r"(?:ways|options) (?:to|of|for) say(?:ing)? no|(?:letter|sign|note|email|notice) reads)\b"
    r"[^.:!?\n]{0,80}:"
    r"|(?<!i'll )(?<!i will )(?<!i would )(?<!i'd )(?<!i should )(?<!i must )(?<!my )"
    r"\b(?:say|write|reply|respond|text|tell (?:him|her|them|it)|answer)(?: with)?(?: this)?:"
    r"|\b(?:said|says|wrote|writes|replied|replies|answered|answers|shouted|whispered)(?: back)?:",
    re.IGNORECASE,
)
_LETTER = re.compile(r"^ ?(?:dear (?!user|friend)|subject:)", re.IGNORECASE)
_GREETING = re.compile(
    r"^ ?(?:hi|hello|hey|good \w+) (?!there|user|friend)[\w .\[\]()]{1,40}[,!]?$", re.I
)
_FAREWELL = re.compile(
    r"^ ?(?:(?:all the |with )?(?:best|kind|warm)(?:est)?(?: (?:regards|wishes))?|regards|"
    r"sincerely|yours(?: \w+)?|cheers|thanks|thank you|love),?$",
    re.IGNORECASE,
)
_BESIDE_QUOTES = re.compile(r"(?<=[«‹])\s{1,2}|\s{1,2}(?=[»›])")  # French puts blanks there
_STOP = re.compile(r"(?<=[.!?;])[\"')\]]*\s+|(?<=[。！？；؟।])[\"')]*")
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, folded and without markup."""

    text: str
    own: bool = True  # the model's own statement
    item: bool = False  # in a line of a list


def sentences(text: str) -> list[Sentence]:
    """Return the sentences of `text` in order.

    Quotations in a sentence are `QUOTATION`, and a block of code is one sentence that is not the
    model's own. A text that is a quotation as a whole is its own. What comes behind a turn that the
    model began for somebody else is left out.
    """
    text = _THINK.sub("\n", _first_turn(plain(_BESIDE_QUOTES.sub("", text))))
    unquoted = _QUOTED.sub(QUOTATION, _WRAPPED.sub(" ", _FENCE.sub(f"\n{QUOTATION}\n", text)))
    lines = [line for line in unquoted.split("\n") if not line.lstrip().startswith(">")]
    if not _WORD.search("".join(lines)):
        lines = [line.lstrip("> ") for line in text.replace('"', "").split("\n")]
    return [sentence for line, own in _with_speaker(lines) for sentence in _split(line, own)]


def _first_turn(text: str) -> str:
    """Return `text` up to a control token or a turn of the user's, if anything stands before."""
    begin = 0
    for token in _TOKEN.finditer(text):
        if _WORD.search(text, begin, token.start()):
            return text[begin : token.start()]
        begin = token.end()
    return text[begin:]


def _with_speaker(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Yield the lines, and whether the model speaks in them for itself.

    It does not in a letter, in a dialogue's lines, and in what is handed over: the rest of a line,
    or else the paragraph behind it.
    """
    bare = [_MARKUP.sub("", line) for line in lines]
    others = [bool(_LABEL.match(line)) and not _OWN_LABEL.match(line) for line in bare]
    dialogue = sum(others) >= 2
    labels = [line.partition(":")[0] for line, other in zip(bare, others, strict=True) if other]
    if len(set(labels)) < len(labels):  # somebody speaks twice, and answers are part of it
        others = [bool(_LABEL.match(line)) for line in bare]
    signed = any(map(_FAREWELL.match, bare))
    letter = handed = begun = False
    for line, other in zip(bare, others, strict=True):
        letter = letter or bool(_LETTER.match(line) or (signed and _GREETING.match(line)))
        begun = handed and (begun or bool(line.strip()))
        handed = handed and not (begun and not line.strip())
        own = not (letter or handed or (dialogue and other))
        over = own and not _OWN_LABEL.match(line) and _HANDED_OVER.search(line)
        if not over:
            yield line, own
            continue
        yield line[: over.end()], True
        if rest := line[over.end() :].strip():
            yield rest, False
        handed = not rest


def _split(line: str, own: bool) -> Iterator[Sentence]:
    item = bool(_ITEM.match(line))
    for piece in _STOP.split(_ITEM.sub("", line).strip(" #|>")):
        for start in range(0, len(piece), _LONGEST):
            if _WORD.search(text := piece[start : start + _LONGEST].strip()) or text == QUOTATION:
                yield Sentence(text, own, item)
