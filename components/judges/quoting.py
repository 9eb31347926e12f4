"""A text that is put before a judge is material, whatever it says.

A completion may hold the judge's control tokens, its format's delimiters, or lines that look like
its verdict. Here they are broken up, visibly: a blank behind a token's first character, `(quoted)`
for a tag's opening bracket and before a line. Characters that nobody sees are dropped, and long
texts lose their middle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from components.core.fingerprints import digest_code
from components.core.storage import digest_bytes
from components.core.typography import IGNORABLE
from components.judges.lines import Lines

QUOTED = "(quoted) "
_SOURCE = digest_code(Path(__file__))

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
        self._lines = Lines(lines, tags)

    @property
    def digest(self) -> str:
        """SHA-256 of the tokens, lines and tags, and of the code that looks for them."""
        parts = [_SOURCE, IGNORABLE.pattern, self._tokens.pattern, self._lines.digest]
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
