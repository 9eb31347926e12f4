"""Whether a chat template and its tokenizer belong together, found out before anything is spent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ModelError
from components.core.storage import read_json
from components.lm.template_process import TODAY
from components.lm.templates import (
    ANSWER,
    MARKS_KEY,
    QUESTION,
    encode,
    end_of_turn,
    literals_of,
    render,
    template_place,
    turn_tail,
    turns_of,
)
from components.lm.thought_formats import MARK, SPEAKS_OF_THOUGHT, reads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOKEN = re.compile(r"<[|｜][^\s<>]{1,40}[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]")
# What some templates change or cut though they keep a short text: tabs, line ends, length.
_LONG = f"\t1.\tfirst\r\n\t2.\tsecond\n\n\n{QUESTION}\n" * 500
_SIDES = re.compile(
    r"/|(?<![a-z])(begin|start|open|end|stop|close|prefix|suffix)(_?of)?(?![a-z])", re.IGNORECASE
)


def check_template(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return what is suspicious about the chat template with its tokenizer, a sentence each.

    Raises `ModelError`, which names the file, where the template cannot be used: it cannot be
    parsed, fails, does not end, or does not hold the user's text; it begins with two BOS; it ends
    a prompt with the end of a turn; it ends an assistant's turn with what is no token; it marks
    thoughts in a way that is not read.
    """
    turns_of(tokenizer)
    render(tokenizer, [_LONG], generation=True, cached=True)
    return [
        *_check_places(tokenizer),
        *_check_start(tokenizer),
        *_check_lead(tokenizer),
        *_check_end(tokenizer),
        *_check_thoughts(tokenizer),
        *_check_rest(tokenizer),
    ]


def _refusal(tokenizer: PreTrainedTokenizerBase, why: str) -> ModelError:
    return ModelError(f"the chat template in {template_place(tokenizer)} {why}")


def _check_places(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Yield a sentence for each file that holds another template than the one in use."""
    folder = Path(tokenizer.name_or_path)
    for name in ("tokenizer_config.json", "chat_template.json"):
        stored = read_json(folder / name) if (folder / name).is_file() else {}
        other = stored.get("chat_template") if isinstance(stored, dict) else None
        if isinstance(other, str) and other.strip() != str(tokenizer.chat_template).strip():
            yield (
                f"{folder / name} holds another template than {template_place(tokenizer)}, which "
                "is the one in use; remove the one that the model was not trained with"
            )


def _check_start(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    bos = tokenizer.bos_token_id
    ids = encode(tokenizer, render(tokenizer, [QUESTION], generation=True, cached=True))
    if bos is not None and ids[:2] == [bos, bos]:
        raise _refusal(
            tokenizer, f"begins a prompt with {tokenizer.bos_token!r} twice; take one away"
        )
    if bos is not None and ids[:1] != [bos] and tokenizer.encode("a")[:1] == [bos]:
        yield (
            f"the template begins no prompt with {tokenizer.bos_token!r}, which the tokenizer puts "
            "before other texts; prompts are put without it, as chat servers do"
        )


def _check_lead(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Yield a sentence where a prompt does not lead to the answer as a dialogue does."""
    thoughts = turns_of(tokenizer).thoughts
    prompt = render(tokenizer, [QUESTION], generation=True, cached=True)
    lead = prompt[prompt.rindex(QUESTION) + len(QUESTION) :].strip()
    try:
        dialogue = render(tokenizer, [QUESTION, ANSWER], generation=False, cached=True)
    except ModelError:  # it writes no such turn
        return
    answer = dialogue.rindex(ANSWER)
    before = dialogue[dialogue.rindex(QUESTION, 0, answer) + len(QUESTION) : answer].strip()
    end = end_of_turn(tokenizer)
    if end is not None and lead != before and encode(tokenizer, lead)[-1:] == [end]:
        raise _refusal(
            tokenizer,
            f"ends a prompt with {tokenizer.convert_ids_to_tokens(end)!r}, which ends a turn, so "
            "the model would be asked to go on behind its answer; let add_generation_prompt open "
            "the assistant's turn",
        )
    marks = (thoughts.begins + thoughts.ends, thoughts.opening, thoughts.alone)
    rests = ["", *(mark.strip() for mark in marks)]
    longer, shorter = (lead, before) if len(lead) > len(before) else (before, lead)
    if longer.removeprefix(shorter).strip() not in rests:
        yield (
            f"a prompt leads to the answer by {lead!r:.80} and a dialogue by {before!r:.80}: the "
            "model may answer otherwise than it was trained to"
        )


def _check_end(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    tail, end = turn_tail(tokenizer), end_of_turn(tokenizer)
    if end is None and (mark := _TOKEN.match(tail)):
        raise _refusal(
            tokenizer,
            f"ends an assistant's turn with {mark[0]!r}, which is no token of the tokenizer there, "
            "so no completion would ever end; give it the template and the tokenizer that the "
            "model was trained with",
        )
    if end is None:
        yield (
            f"the template puts no token behind an assistant's turn; {tokenizer.eos_token!r}, the "
            "tokenizer's, ends completions and is what training writes"
        )
    elif end != tokenizer.eos_token_id:
        yield (
            f"the template ends a turn with {tokenizer.convert_ids_to_tokens(end)!r} and the "
            f"tokenizer a text with {tokenizer.eos_token!r}: both end a completion, and training "
            "writes the template's"
        )


def _check_thoughts(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    own = turns_of(tokenizer).thoughts
    remedy = (
        f"name the two in {Path(tokenizer.name_or_path) / 'tokenizer_config.json'} as "
        f'"{MARKS_KEY}": [opening, closing]'
    )
    written = _unread(mark[0] for mark in MARK.finditer(literals_of(tokenizer)))
    written = [mark for mark in written if mark not in (own.opening, own.closing)]
    if len({_stem(mark) for mark in written}) < len(written):  # an opening one and its closing one
        raise _refusal(
            tokenizer,
            f"marks thoughts by {' and '.join(map(repr, written[:4]))}, which are not read, so a "
            f"thought would be judged as the answer; {remedy}",
        )
    known = _unread(mark for mark in tokenizer.get_added_vocab() if MARK.fullmatch(mark))
    known = [mark for mark in known if mark not in (own.opening, own.closing)]
    if suspected := sorted({*written, *known}):
        yield (
            f"{', '.join(map(repr, suspected[:4]))} may mark thoughts, and would be read as a part "
            f"of the answer; {remedy} if so"
        )


def _unread(marks: Iterator[str]) -> list[str]:
    """Return the marks that look like those of thoughts and are none that is read, each once."""
    found = dict.fromkeys(marks)
    return [mark for mark in found if SPEAKS_OF_THOUGHT.search(mark.lower()) and not reads(mark)]


def _stem(mark: str) -> str:
    """Return a mark without what tells an opening one from a closing one."""
    return re.sub(r"[\W_]", "", _SIDES.sub("", mark)).lower()


def _check_rest(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    marks = dict.fromkeys(_TOKEN.findall(literals_of(tokenizer)))
    spelt = [mark for mark in marks if len(tokenizer.encode(mark, add_special_tokens=False)) != 1]
    if spelt:
        yield (
            f"the template writes {', '.join(map(repr, spelt[:4]))}, which the tokenizer has no "
            "token for; it may be that of another model"
        )
    if "strftime_now" in str(tokenizer.chat_template):
        yield (
            f"the template asks for today's date, and gets {TODAY:%d %B %Y} on every day, so that "
            "a prompt stays the same; a server gives it another"
        )
