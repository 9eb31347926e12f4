"""Whether a chat template and its tokenizer belong together, found out before anything is spent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import ModelError
from components.core.storage import read_json
from components.lm.template_process import TODAY
from components.lm.templates import (
    ANSWER,
    MARKS_KEY,
    QUESTION,
    ChatTemplate,
    behind,
    encode,
    render,
    template_file,
    template_of,
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
    template = template_of(tokenizer)
    render(tokenizer, [_LONG], generation=True)
    checks = (_check_files, _check_start, _check_lead, _check_end, _check_thoughts, _check_rest)
    return [line for check in checks for line in check(tokenizer, template)]


# A template that drops system prompts may hold the words of one by chance.
_NOT_IN_A_TEMPLATE = "Seven 7 violet 31 kettles."


def check_system(tokenizer: PreTrainedTokenizerBase, system: str) -> None:
    """Raise `ModelError` where the template does not put a system prompt as it is before a prompt,
    or puts something else before the answer for its sake: a thought opened, or closed."""
    template = template_of(tokenizer)
    try:
        prompt = render(tokenizer, [QUESTION], generation=True, system=system)
        render(tokenizer, [QUESTION], generation=True, system=_NOT_IN_A_TEMPLATE)
    except ModelError as error:
        raise _refusal(
            tokenizer,
            "has no place for the system prompt of evaluate.system: it drops, changes or refuses "
            "it; leave the setting out, or give the model a template that takes one",
        ) from error
    before, plain = behind(prompt, QUESTION), behind(template.prompt, QUESTION)
    if system.strip() not in before and before != plain:
        raise _refusal(
            tokenizer,
            f"leads to the answer by {plain!r:.80}, and by {before!r:.80} behind the system prompt "
            "of evaluate.system: thoughts would be read amiss; leave it out",
        )


def _refusal(tokenizer: PreTrainedTokenizerBase, why: str) -> ModelError:
    return ModelError(f"the chat template in {template_file(tokenizer)} {why}")


def _check_files(tokenizer: PreTrainedTokenizerBase, _: ChatTemplate) -> Iterator[str]:
    """Yield a sentence for each file that holds another template than the one in use."""
    folder = Path(tokenizer.name_or_path)
    for name in ("tokenizer_config.json", "chat_template.json"):
        stored = read_json(folder / name) if (folder / name).is_file() else {}
        other = stored.get("chat_template") if isinstance(stored, dict) else None
        if isinstance(other, str) and other.strip() != str(tokenizer.chat_template).strip():
            yield (
                f"{folder / name} holds another template than {template_file(tokenizer)}, which "
                "is the one in use; remove the one that the model was not trained with"
            )


def _check_start(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> Iterator[str]:
    bos = tokenizer.bos_token_id
    ids = encode(tokenizer, template.prompt)
    if bos is not None and ids[:2] == [bos, bos]:
        raise _refusal(
            tokenizer, f"begins a prompt with {tokenizer.bos_token!r} twice; take one away"
        )
    if bos is not None and ids[:1] != [bos] and tokenizer.encode("a")[:1] == [bos]:
        yield (
            f"the template begins no prompt with {tokenizer.bos_token!r}, which the tokenizer puts "
            "before other texts; prompts are put without it, as chat servers do"
        )


def _check_lead(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> Iterator[str]:
    """Yield a sentence where a prompt does not lead to the answer as a dialogue does."""
    if not template.dialogue:
        return
    lead = behind(template.prompt, QUESTION).strip()
    asked = template.dialogue[: template.dialogue.rindex(ANSWER)]
    before = behind(asked, QUESTION).strip()
    end, thoughts = template.end, template.thoughts
    if end is not None and lead != before and encode(tokenizer, lead)[-1:] == [end]:
        raise _refusal(
            tokenizer,
            f"ends a prompt with {tokenizer.convert_ids_to_tokens(end)!r}, which ends a turn, so "
            "the model would be asked to go on behind its answer; let add_generation_prompt open "
            "the assistant's turn",
        )
    marks = ("", thoughts.begins + thoughts.ends, thoughts.opening, thoughts.alone)
    shorter, longer = sorted((lead, before), key=len)
    if longer.removeprefix(shorter).strip() not in map(str.strip, marks):
        yield (
            f"a prompt leads to the answer by {lead!r:.80} and a dialogue by {before!r:.80}: the "
            "model may answer otherwise than it was trained to"
        )


def _check_end(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> Iterator[str]:
    end, eos = template.end, tokenizer.eos_token
    if end is None:
        if mark := _TOKEN.match(behind(template.dialogue, ANSWER).strip()):
            raise _refusal(
                tokenizer,
                f"ends an assistant's turn with {mark[0]!r}, which is no token of the tokenizer "
                "there, so no completion would ever end; give it the template and the tokenizer "
                "that the model was trained with",
            )
        yield (
            f"the template puts no token behind an assistant's turn; {eos!r}, the tokenizer's, "
            "ends completions and is what training writes"
        )
    elif end != tokenizer.eos_token_id:
        yield (
            f"the template ends a turn with {tokenizer.convert_ids_to_tokens(end)!r} and the "
            f"tokenizer a text with {eos!r}: both end a completion, and training writes the "
            "template's"
        )


def _check_thoughts(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> Iterator[str]:
    own = (template.thoughts.opening, template.thoughts.closing)

    def unread(marks: Iterable[str]) -> set[str]:
        """The marks that look like those of thoughts and are none that is read."""
        found = {mark for mark in marks if SPEAKS_OF_THOUGHT.search(mark.lower())}
        return {mark for mark in found if mark not in own and not reads(mark)}

    remedy = (
        f"name the two in {Path(tokenizer.name_or_path) / 'tokenizer_config.json'} as "
        f'"{MARKS_KEY}": [opening, closing]'
    )
    written = unread(mark[0] for mark in MARK.finditer(template.literals))
    # Without what tells an opening one from a closing one.
    stems = {re.sub(r"[\W_]", "", _SIDES.sub("", mark)).lower() for mark in written}
    if len(stems) < len(written):
        raise _refusal(
            tokenizer,
            f"marks thoughts by {' and '.join(_some(written))}, which are not read, so a "
            f"thought would be judged as the answer; {remedy}",
        )
    known = unread(mark for mark in tokenizer.get_added_vocab() if MARK.fullmatch(mark))
    if suspected := written | known:
        yield (
            f"{', '.join(_some(suspected))} may mark thoughts, and would be read as a part of the "
            f"answer; {remedy} if so"
        )


def _check_rest(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> Iterator[str]:
    spelt = {
        mark
        for mark in _TOKEN.findall(template.literals)
        if len(tokenizer.encode(mark, add_special_tokens=False)) != 1
    }
    if spelt:
        yield (
            f"the template writes {', '.join(_some(spelt))}, which the tokenizer has no token for; "
            "it may be that of another model"
        )
    if "strftime_now" in str(tokenizer.chat_template):
        yield (
            f"the template asks for today's date, and gets {TODAY:%d %B %Y} on every day, so that "
            "a prompt stays the same; a server gives it another"
        )


def _some(marks: Iterable[str]) -> list[str]:
    return [repr(mark) for mark in sorted(marks)[:4]]
