"""One spelling for what looks alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.typography import plain, plain_pattern


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("can‘t can’t can′t can`t can´t canʼt", "can't can't can't can't can't can't"),
        ("ca n't do n't can 't", "can't don't can't"),
        ("“a” «b» „c“ 「d」", '"a" "b" "c" "d"'),
        ("ｆｕｌｌ\u00a0ｗｉｄｔｈ\u200b", "full width"),
        ("désolé können ﬁn", "desole konnen fin"),
        ("도와 がく", "도와 か\u3099く"),
        ("a\r\nb\u2028c\td", "a\nb\nc d"),
        ("&lt;b&gt; it&#39;s", "<b> it's"),
        ("one—two – three", "one - two - three"),
    ],
)
def test_folding(text, folded):
    assert plain(text) == folded


@given(st.text(st.characters(exclude_characters="&"), max_size=40))
def test_folding_is_done_once(text):
    assert plain(plain(text)) == plain(text)


@given(st.text(alphabet="aé’“”ｂ한がßﬁ‐.(\u200b)Ж我"))
def test_a_pattern_is_folded_as_the_text_is(text):
    assert re.fullmatch(plain_pattern(re.escape(text)), plain(text))
