"""A text that is put before a judge is material, whatever it says.

A completion may hold the judge's control tokens, its format's delimiters, or lines that look like
its verdict. Here they are broken up, visibly: a blank behind a token's first character, `(quoted)`
for a tag's opening bracket and before a line. Characters that nobody sees are dropped, and long
texts lose their middle.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise, product
from pathlib import Path

from components.core.documents import read_yaml
from components.core.fingerprints import digest_code
from components.core.storage import digest_bytes, digest_file
from components.core.typography import IGNORABLE

QUOTED = "(quoted) "
_FILE = Path(__file__).with_suffix(".yaml")
_SOURCE = [digest_code(Path(__file__)), digest_file(_FILE)]
_TABLE = read_yaml(_FILE)
_HAZARDS = re.compile(r"(?:s\d{1,2}+)++")
_DROPPED = re.compile(r"[^\w\n:=<>|+-]|_")
_MARKS = re.compile(r"[:=<>|+-]")
_COLON = re.compile(r"([:=])")

# What chat templates and tokenizers use as control tokens, whoever the judge is: ChatML and Llama 3
# (<|…|>), DeepSeek (the same with wide bars), Llama 2, Mistral, Gemma, T5, BERT, thoughts, tools.
FAMILIES = (
    r"[<＜][|｜][^|｜<>＜＞\n]{0,64}[|｜][>＞]",
    r"[<＜]{1,2}/?(?:s|sys|bos|eos|pad|unk|mask|cls|sep|(?:start|end)_of_turn)[>＞]{1,2}",
    r"[<＜]/?(?:think|tool_call|tool_response|function|system|user|assistant)[>＞]",
    r"[\[［]/?(?:inst|system_prompt|available_tools|tool_calls|tool_results)[\]］]",
    r"[\[［](?:bos|eos|pad|unk|mask|cls|sep)[\]］]",
)

_LINE_END = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")


def visible(text: str) -> str:
    """Return `text` without what nobody sees: control, format, tag and bidirectional characters.

    Every line end becomes a newline and every other blank, except a tab, a space.
    """
    text = IGNORABLE.sub("", _LINE_END.sub("\n", text))
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else " " * character.isspace()
        for character in text
    )


def is_long(text: str, limit: int) -> bool:
    """Return whether `text` loses its middle where it is quoted within `limit` characters."""
    return len(visible(text).strip()) > limit


def cut(text: str, limit: int) -> str:
    """Return the beginning and the end of `text`, `limit` characters together, the cut said."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit - limit // 2], text[len(text) - limit // 2 :]
    return f"{head}\n[... {len(text) - limit} characters left out ...]\n{tail}"


class Quoting:
    """Quotes texts for one judge.

    `tokens` are strings that no quoted text holds: control tokens of the judge's tokenizer and
    those of its format. They come on top of `FAMILIES`. `lines` and `tags` are those of its format:
    see `Lines`.
    """

    def __init__(
        self, tokens: Iterable[str] = (), lines: Iterable[str] = (), tags: Iterable[str] = ()
    ) -> None:
        # A blank cannot break what has one behind its first character, and such a token is layout.
        own = {token for token in tokens if token and not any(c.isspace() for c in token[:2])}
        longest_first = sorted(own, key=lambda token: (-len(token), token))
        exact = [re.escape(token).replace(r"\ ", r"\s+") for token in longest_first]
        self._tokens = re.compile("|".join([*FAMILIES, *exact]), re.IGNORECASE)
        self._own = sorted(lines), sorted(tags)
        self._lines = Lines(*self._own)

    @property
    def digest(self) -> str:
        """SHA-256 of the tokens, lines and tags, and of the code that looks for them."""
        parts = [*_SOURCE, IGNORABLE.pattern, self._tokens.pattern, *self._own]
        return digest_bytes(json.dumps(parts).encode())

    def quote(self, text: str, limit: int) -> str:
        """Return `text` as material: seen, cut to about `limit` characters, tokens, tags and lines
        broken, without blanks around it."""
        text = cut(visible(text).strip(), limit)
        # A broken token may leave another one behind. This ends: every pass takes two characters
        # apart that stood together, or drops one.
        while (broken := self._tokens.sub(_broken, self._without_tags(text))) != text:
            text = broken
        lines = zip(text.split("\n"), self._lines.found(text), strict=True)
        return "\n".join(QUOTED * found + line for line, found in lines).strip()

    def _without_tags(self, text: str) -> str:
        """Return `text` with `QUOTED` for the opening brackets of tags."""
        places = self._lines.tags(text)
        pieces = [text[a + 1 : b] for a, b in pairwise([-1, *places, len(text)])]
        return QUOTED.join(pieces)


def _broken(token: re.Match[str]) -> str:
    first, rest = token[0][0], token[0][1:]
    return f"{first} {rest}" if rest else ""


# --- lines and tags that read as those of a judge's format --------------------------------------


def _alike() -> dict[int, str]:
    """Return what each character of the table's `looks` looks like."""
    alike: dict[int, str] = {}
    for mark, looks in _TABLE["looks"].items():
        for first, last in re.findall(r"(.)(?:-(.))?", looks):
            alike |= dict.fromkeys(range(ord(first), ord(last or first) + 1), mark)
    return alike


_ALIKE = _alike()
_decomposed = partial(unicodedata.normalize, "NFKD")


def fold(text: str) -> str:
    """Return `text` in plain small letters (NFKD, without accents), digits, line ends and the
    marks : = < > | + - for whatever looks like one; nothing else of it is left."""
    # One by one: putting a long run of accents into their order takes the square of its length.
    plain = "".join(map(_decomposed, text.translate(_ALIKE))).translate(_ALIKE)
    return _DROPPED.sub("", plain.casefold())


def letters(text: str) -> str:
    """Return `text` folded, without its marks."""
    return _MARKS.sub("", fold(text))


class Lines:
    """Tells the lines and tags that no quoted text may hold.

    `own` are the lines of a format, beside turns and verdicts: one that ends with a colon opens
    with these words, `---` is a rule, and any other is how a line begins. `tags` are words in angle
    brackets.
    """

    def __init__(self, own: Sequence[str], tags: Sequence[str]) -> None:
        verdicts = (
            "".join(words)
            for count in range(4)
            for words in product(*[_TABLE["qualifiers"]] * count, _TABLE["verdicts"])
        )
        opening = {*map(letters, _TABLE["turns"]), *verdicts}
        own_opening = {letters(line) for line in own if line.endswith(":")}
        self._openings = {"=": opening, ":": opening | own_opening}
        self._longest = max(map(len, self._openings[":"]))
        self._whole = {*_TABLE["words"], *map(letters, tags)}
        self._rules = "---" in own
        self._begins = tuple(
            letters(line) for line in own if not line.endswith(":") and letters(line)
        )
        named = "|".join(map(letters, tags))
        self._tags = re.compile(f"<(?=(?:{named})>)") if tags else None

    def found(self, text: str) -> list[bool]:
        """Return of every line of `text` whether it reads as one of the lines, or says a tag alone.

        A symbol may be a letter in a circle or a mark such as a trade mark's: both are tried.
        """
        unmarked = _DROPPED.sub("", text.translate(_ALIKE))
        readings = zip(fold(text).split("\n"), fold(unmarked).split("\n"), strict=True)
        return [any(map(self._reads, folded)) for folded in readings]

    def tags(self, text: str) -> list[int]:
        """Return where in `text` the opening brackets of tags stand."""
        if self._tags is None or not self._tags.search(_joined(fold(text))):
            return []
        pieces = [_joined(fold(character)) for character in text]
        places = [place for place, piece in enumerate(pieces) for _ in piece]
        return [places[found.start()] for found in self._tags.finditer("".join(pieces))]

    def _reads(self, folded: str) -> bool:
        words = _MARKS.sub("", folded)
        if not words:
            return self._rules and folded.endswith("---")
        if words in self._whole or words.startswith(self._begins) or _HAZARDS.fullmatch(words):
            return True
        return self._opens(folded)

    def _opens(self, folded: str) -> bool:
        """Return whether the letters before one of the colons are an opening."""
        pieces = _COLON.split(folded)
        head = ""
        for piece, colon in zip(pieces[::2], pieces[1::2], strict=False):
            head += _MARKS.sub("", piece)
            if len(head) > self._longest:
                return False
            if head in self._openings[colon]:
                return True
        return False


def _joined(folded: str) -> str:
    """Return what is folded without all but its letters and angle brackets."""
    return re.sub(r"[^\w<>]", "", folded)
