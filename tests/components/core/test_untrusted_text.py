"""What untrusted text becomes, read again by independent readers of Markdown."""

from __future__ import annotations

import logging

import mistune
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from components.core.untrusted_text import (
    Formatter,
    clip,
    for_markdown,
    for_terminal,
    is_withheld,
    one_line,
    visible,
)
from components.core.vocabulary import Role
from tests.hostile import HOSTILE, steering

PLACES = {
    "paragraph": ("before {} after", "before "),
    "beginning": ("{}", ""),
    "heading": ("# {}", ""),
    "item": ("- {}", ""),
    "cell": ("| a | b |\n|---|---|\n| {} | c |", ""),
}
HARMLESS = {
    *("paragraph", "heading", "inline", "text", "softbreak", "bullet_list", "list_item"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


def commonmark(text: str) -> tuple[set[str], list[str]]:
    """Return the kinds of elements in a text, and its runs of plain text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    every = [*tokens, *(child for token in tokens for child in token.children or ())]
    kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in every}
    inline = ["".join(c.content for c in token.children) for token in tokens if token.children]
    return kinds, inline


def github(text: str) -> str:
    """Return the page that a reader with bare links, tables and footnotes makes of a text."""
    plugins = ["url", "table", "strikethrough", "footnotes", "task_lists", "math"]
    return str(mistune.create_markdown(escape=False, plugins=plugins)(text))


def test_invisible_characters_become_visible():
    assert visible("\x1b[31m") == "⟨U+001B⟩[31m"
    assert visible("a\u202eb\u200bc\x00\x7f\x85") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+0000⟩⟨U+007F⟩⟨U+0085⟩"
    assert visible("\ud800\u2028\ue000") == "⟨U+D800⟩⟨U+2028⟩⟨U+E000⟩"
    assert visible("x\ufe0f\U000e0101\u3164") == "x⟨U+FE0F⟩⟨U+E0101⟩⟨U+3164⟩"
    assert visible("größer – 你好 😀\n\tça") == "größer – 你好 😀\n\tça"


def test_small_words():
    assert one_line("a\nb\tc") == "a↵b⇥c"
    assert clip("short", 5) == "short"
    assert clip("longer than", 7) == "longer …"
    assert is_withheld(Role.HARMFUL, redact=True)
    assert not is_withheld(Role.HARMFUL, redact=False)
    assert not is_withheld(Role.BENIGN, redact=True)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_on_a_terminal_a_text_is_one_short_line_without_controls(text: str):
    shown = for_terminal(text)
    assert steering(shown) == [] and "\n" not in shown and "\t" not in shown
    assert len(shown) < 1100
    shown.encode("utf-8")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_in_markdown_a_text_reads_as_itself_wherever_it_is_put(text: str, place: str):
    text = clip(text, 2000)
    written, before = PLACES[place]
    kinds, inline = commonmark(written.format(for_markdown(text)))
    assert kinds <= HARMLESS
    expected = visible(" ".join(text.split()))
    assert any(run.startswith(before + expected) for run in inline)
    page = github(written.format(for_markdown(text)))
    assert not [tag for tag in ("<a", "<img", "<s", "<code", "<del", "<em", "<sup") if tag in page]


@settings(max_examples=150)
@given(st.text(alphabet="\\`*_{}[]()<>#+-.!|~&:/@$^='\"1a \n\t", min_size=1, max_size=30))
def test_no_text_leaves_its_line_of_markdown(text: str):
    expected = " ".join(text.split())
    for written, before in PLACES.values():
        kinds, inline = commonmark(written.format(for_markdown(text)))
        assert kinds <= HARMLESS
        assert not expected or any(run.startswith(before + expected) for run in inline)


def test_log_records_and_their_tracebacks_are_visible():
    formatter = Formatter("%(message)s")
    try:
        raise ValueError("\x1b[2J")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.INFO, "x", 1, "said %s", ("\x1b[31m",), (type(error), error, None)
        )
    assert formatter.format(record).splitlines() == ["said ⟨U+001B⟩[31m", "ValueError: ⟨U+001B⟩[2J"]
