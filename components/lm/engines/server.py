"""The engine on a server that speaks OpenAI's completions API, such as vLLM's own.

An arm is a model name on the server: `base`, `post-trained`, `restored`. Prompts go as token ids,
completions come back as token ids where the server can; where it gives only text, the ids are
those of the text, which must have as many tokens as the server counted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.errors import ConfigError, ModelError
from components.core.http import Limits, Server, is_address
from components.lm.engines.protocol import Engine, Groups, Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

URL, KEY, PROMPTS = "SAFEREACT_ENGINE_URL", "SAFEREACT_ENGINE_KEY", "SAFEREACT_ENGINE_PROMPTS"
_AT_ONCE = 32  # requests that wait for the server, which batches them
# A long chain of thought takes an hour; an answer with the ids of 100,000 tokens some hundredth of
# the bytes. Seven repeats wait half a minute.
_LIMITS = Limits(seconds=3600.0, repeats=7, size=1 << 26)


class _Reply(BaseModel):
    model_config = ConfigDict(strict=True)


class _Usage(_Reply):
    prompt_tokens: int
    completion_tokens: int | None = None


class _Choice(_Reply):
    finish_reason: str
    text: str = ""
    token_ids: list[Annotated[int, Ge(0)]] | None = None


class _Completion(_Reply):
    choices: Annotated[list[_Choice], Len(1)]
    usage: _Usage


class _Model(_Reply):
    id: str


class _Models(_Reply):
    data: Annotated[list[_Model], Len(1)]


_Kind = TypeVar("_Kind", bound=_Reply)


class ServerHost:
    """The server that `SAFEREACT_ENGINE_URL` names.

    Whether its models are the checkpoint and the adapters that they are taken for cannot be seen
    over HTTP: evidence calls them unbound.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]) -> None:
        url, prompts = os.environ.get(URL, "").strip(), os.environ.get(PROMPTS, "ids")
        if not is_address(url):
            state = "is no http(s) address" if url else "is not set"
            raise ConfigError(
                f"{URL} {state}; set it to that of the server's API, such as "
                "http://localhost:8000/v1"
            )
        if prompts not in ("ids", "text"):
            raise ConfigError(f"{PROMPTS} must be ids or text, not {prompts!r}")
        self._as_text = prompts == "text"
        self._server = Server(
            url,
            os.environ.get(KEY, "").strip(),
            _LIMITS,
            names=(URL, KEY),
            hint=f"whether it takes token ids; one that takes none needs {PROMPTS}=text",
        )
        self._tokenizer, self._ends = tokenizer, ends

    def engine(self, arm: str, adapter: Path | None) -> Engine:  # noqa: ARG002 - it has it
        """Return the engine of the model that the server calls `arm`.

        After an error it waits for what is under way and yields it, as `Server.answers` does.
        Raises `ConfigError` naming the models there are.
        """
        names = [model.id for model in _read(_Models, self._server.ask("/models")).data]
        if arm not in names:
            raise ConfigError(
                f"{self._server.name} has no model {arm!r}, but {', '.join(sorted(names))}; serve "
                "it under that name"
            )
        return Engine("openai", self._ends, partial(self._write, arm))

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _write(self, model: str, requests: Sequence[Request]) -> Groups:
        written: list[dict[int, tuple[int, ...]]] = [{} for _ in requests]
        items = [(i, k) for i, request in enumerate(requests) for k in range(request.samples)]

        def complete(item: tuple[int, int]) -> tuple[int, ...]:
            return self._complete(model, requests[item[0]], item[1])

        for (i, sample), ids in self._server.answers(items, complete, at_once=_AT_ONCE):
            written[i][sample] = ids
            if len(written[i]) == requests[i].samples:
                yield {i: tuple(written[i][k] for k in range(len(written[i])))}

    def _complete(self, model: str, request: Request, sample: int) -> tuple[int, ...]:
        """Return one sample; its end token, whichever it was, is the tokenizer's where the server
        leaves it out."""
        body = {"model": model, **self._body(request, sample)}
        answer = _read(_Completion, self._server.ask("/completions", body))
        choice, read = answer.choices[0], answer.usage.prompt_tokens
        if read != len(request.prompt):
            raise ModelError(
                f"the server read {read} tokens of a prompt of {len(request.prompt)}: it adds its "
                f"own, or has another tokenizer; use one that takes token ids, without {PROMPTS}"
            )
        ids, reason = choice.token_ids, choice.finish_reason
        if reason not in ("stop", "length"):
            raise ModelError(
                f"the server ended a completion by {reason!r:.40}, not by stop or length"
            )
        if ids is None:
            ids = self._ids(choice, answer.usage.completion_tokens)
        if reason == "stop" and (not ids or ids[-1] not in self._ends):
            ids = [*ids, self._tokenizer.eos_token_id]
        if reason == "length" and len(ids) != request.max_new_tokens:
            raise ModelError(
                f"the server cut a completion at {len(ids)} tokens of {request.max_new_tokens}; "
                "give it a longer context, such as vLLM's --max-model-len"
            )
        return tuple(ids)

    def _body(self, request: Request, sample: int) -> Mapping[str, Any]:
        return {
            "prompt": self._text(request) if self._as_text else list(request.prompt),
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k or -1,
            "seed": request.sample_seed(sample),
            # vLLM's own; other servers leave them be.
            "stop_token_ids": sorted(self._ends),
            "return_token_ids": True,
            "skip_special_tokens": False,
            "add_special_tokens": False,
            # Else a server may take the checkpoint's own sampling settings.
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "min_p": 0.0,
        }

    def _text(self, request: Request) -> str:
        """Return the prompt's text; raises `ModelError` where the text has other ids."""
        text = str(self._tokenizer.decode(list(request.prompt), skip_special_tokens=False))
        if tuple(self._tokenizer.encode(text, add_special_tokens=False)) != request.prompt:
            raise ModelError(
                f"a prompt of {len(request.prompt)} tokens does not survive as text; use a server "
                f"that takes token ids, without {PROMPTS}"
            )
        return text

    def _ids(self, choice: _Choice, count: int | None) -> list[int]:
        """Return the ids of the completion's text; raises `ModelError` where they cannot be what
        the model wrote. An end token may be counted or not."""
        ids = list(self._tokenizer.encode(choice.text, add_special_tokens=False))
        end = choice.finish_reason == "stop" and not (ids and ids[-1] in self._ends)
        same = self._tokenizer.decode(ids, skip_special_tokens=False) == choice.text
        if not same or count not in (len(ids), len(ids) + end):
            raise ModelError(
                f"the server counted {count} tokens in a text that this tokenizer reads as "
                f"{len(ids)}: what the model wrote cannot be told; use a server that returns token "
                "ids (vLLM does)"
            )
        return ids


def _read(kind: type[_Kind], answer: dict[str, Any]) -> _Kind:
    """Return the answer as the API has it; raises `ModelError` naming the field where it is not."""
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, wrong["loc"]))
        raise ModelError(
            f"the server's answer is none of the completions API ({field}: {wrong['msg']}); is "
            f"{URL} right, and does the server speak that API?"
        ) from None
