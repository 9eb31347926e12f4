"""The engine on a server that speaks OpenAI's completions API, such as vLLM's own.

An arm is a model name on the server: `base`, `post-trained`, `restored`. Prompts go as token ids,
completions come back as token ids where the server can; where it gives only text, the ids are
those of the text, which must have as many tokens as the server counted.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from components.core.addresses import is_address, server_of
from components.core.errors import ConfigError, InterruptionError, ModelError, SafeReActError
from components.core.http import (
    HugeAnswerError,
    NoAnswerError,
    ask_again,
    authorization,
    describe,
    exchange,
)
from components.lm.engines.protocol import Request, Samples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

URL, KEY, PROMPTS = "SAFEREACT_ENGINE_URL", "SAFEREACT_ENGINE_KEY", "SAFEREACT_ENGINE_PROMPTS"
_AT_ONCE = 32  # requests that wait for the server, which batches them
_TRIES = 6
_SECONDS = 3600.0  # that an answer may take; a long chain of thought takes its time
_TIMEOUT = httpx.Timeout(30.0, read=_SECONDS)
_HUGE = 1 << 26  # bytes; an answer with the ids of 100,000 tokens needs some hundredth of it
_KINDS: Mapping[type, str] = {list: "list", dict: "object", str: "text", int: "number"}
_Kind = TypeVar("_Kind", list[Any], dict[str, Any], str, int)


class ServerHost:
    """The server that `SAFEREACT_ENGINE_URL` names; `pause` is the first wait before a new try, in
    seconds, each later one twice as long."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int], *, pause: float = 1.0
    ) -> None:
        url = os.environ.get(URL, "").strip()
        if not is_address(url):
            state = "is no http(s) address" if url else "is not set"
            raise ConfigError(
                f"{URL} {state}; set it to that of the server's API, such as "
                "http://localhost:8000/v1"
            )
        self.told = server_of(url)
        self._as_text = _as_text()
        self._client = httpx.Client(
            base_url=f"{url.rstrip('/')}/",
            headers=authorization(os.environ.get(KEY, "").strip(), variable=KEY),
            timeout=_TIMEOUT,
        )
        self._tokenizer, self._ends, self._pause = tokenizer, ends, pause

    def engine(self, arm: str, adapter: Path | None) -> ServerEngine:  # noqa: ARG002 - it has it
        """Return the engine of the model that the server calls `arm`.

        Raises `ConfigError` naming the models there are. Whether the server's model is the
        checkpoint with that adapter cannot be seen over HTTP: evidence calls it unbound.
        """
        answer = self.call("GET", "models")
        models = _field(answer, "data", list)
        names = [_field(model, "id", str) for model in models]
        if arm not in names:
            raise ConfigError(
                f"the server {self.told} has no model {arm!r}, but "
                f"{', '.join(sorted(names))}; serve it under that name"
            )
        return ServerEngine(self, arm, self._tokenizer, self._ends, prompts_as_text=self._as_text)

    def call(
        self, method: str, path: str, body: Any = None, *, ended: threading.Event | None = None
    ) -> Any:
        """Return the server's answer, asked for again as `ask_again` says, until `ended`.

        Raises `InterruptionError` where none comes, `ConfigError` where the key or the address is
        wrong, and `ModelError` where the server refuses the request or its answer does not end.
        """

        def send(_: int) -> tuple[int, bytes]:
            return exchange(self._client, method, path, body, limit=_HUGE, seconds=_SECONDS)

        try:
            status, content = ask_again(
                send,
                attempts=_TRIES,
                first_wait=self._pause,
                ended=ended or threading.Event(),
                label=self.told,
            )
        except NoAnswerError as error:
            raise InterruptionError(
                f"the server {self.told} gave no answer {error}; what is finished is kept: run "
                "this again when it answers"
            ) from error
        except HugeAnswerError as error:
            raise ModelError(f"the server {self.told} answers {path!r} with {error}") from error
        return self._content(status, content, path)

    def _content(self, status: int, content: bytes, path: str) -> Any:
        if status in (401, 403):
            raise ConfigError(f"the server refuses the key (HTTP {status}); set {KEY}")
        if status == 404:
            raise ConfigError(f"the server {self.told} has no {path!r} there; is {URL} right?")
        if status >= 300:
            raise ModelError(
                f"the server refuses a request ({describe(status, content)}); one that takes no "
                f"token ids needs {PROMPTS}=text"
            )
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"the server {self.told} answers {path!r} with no JSON; is {URL} right?"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class ServerEngine:
    """One model of the server."""

    name = "openai"

    def __init__(
        self,
        host: ServerHost,
        model: str,
        tokenizer: PreTrainedTokenizerBase,
        ends: frozenset[int],
        *,
        prompts_as_text: bool,
    ) -> None:
        self.ends = ends
        self._host, self._model, self._tokenizer = host, model, tokenizer
        self._as_text = prompts_as_text

    def write(self, requests: Sequence[Request]) -> Iterator[dict[int, Samples]]:
        """Yield the finished requests by their index, as soon as they are finished.

        After an error what is under way is waited for and yielded, since it is paid for; what has
        not begun, or would be sent again, is not sent.
        """
        written: list[dict[int, tuple[int, ...]]] = [{} for _ in requests]
        ended, pool = threading.Event(), ThreadPoolExecutor(_AT_ONCE)
        asked: dict[Future[tuple[int, ...]], tuple[int, int]] = {}

        def taken(answer: Future[tuple[int, ...]]) -> Iterator[dict[int, Samples]]:
            i, sample = asked.pop(answer)
            written[i][sample] = answer.result()
            if len(written[i]) == requests[i].samples:
                yield {i: tuple(written[i][k] for k in range(len(written[i])))}

        try:
            for i, request in enumerate(requests):
                for sample in range(request.samples):
                    asked[pool.submit(self._complete, request, sample, ended)] = i, sample
            for answer in as_completed(tuple(asked)):
                yield from taken(answer)
        except (SafeReActError, KeyboardInterrupt) as error:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
            sent = [answer for answer in asked if not answer.cancelled()]
            log.warning("%s; waiting for what is under way", str(error) or type(error).__name__)
            for answer in as_completed(sent):
                if answer.exception() is None:
                    yield from taken(answer)
            raise
        finally:
            ended.set()
            pool.shutdown(cancel_futures=True)

    def _complete(self, request: Request, sample: int, ended: threading.Event) -> tuple[int, ...]:
        """Return one sample; its end token, whichever it was, is the tokenizer's where the server
        leaves it out."""
        body = self._body(request, sample)
        answer = self._host.call("POST", "completions", body, ended=ended)
        choice, usage = _field(answer, "choices", list)[0], _field(answer, "usage", dict)
        read = _field(usage, "prompt_tokens", int)
        if read != len(request.prompt):
            raise ModelError(
                f"the server read {read} tokens of a prompt of {len(request.prompt)}: it adds its "
                f"own, or has another tokenizer; use one that takes token ids, without {PROMPTS}"
            )
        reason = _field(choice, "finish_reason", str)
        if reason not in ("stop", "length"):
            raise ModelError(
                f"the server ended a completion by {reason!r:.40}, not by stop or length"
            )
        ids = _token_ids(choice)
        if ids is None:
            ids = self._ids(choice, usage)
        if reason == "stop" and (not ids or ids[-1] not in self.ends):
            ids = [*ids, self._tokenizer.eos_token_id]
        if reason == "length" and len(ids) != request.max_new_tokens:
            raise ModelError(
                f"the server cut a completion at {len(ids)} tokens of {request.max_new_tokens}; "
                "give it a longer context, such as vLLM's --max-model-len"
            )
        return tuple(ids)

    def _body(self, request: Request, sample: int) -> Mapping[str, Any]:
        return {
            "model": self._model,
            "prompt": self._text(request) if self._as_text else list(request.prompt),
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.sample_seed(sample),
            # vLLM's own; other servers leave them be.
            "stop_token_ids": sorted(self.ends),
            "return_token_ids": True,
            "skip_special_tokens": False,
            "add_special_tokens": False,
            # Else a server may take the checkpoint's own sampling settings.
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_k": -1,
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

    def _ids(self, choice: Mapping[str, Any], usage: Mapping[str, Any]) -> list[int]:
        """Return the ids of the completion's text; raises `ModelError` where they cannot be what
        the model wrote. An end token may be counted or not."""
        text = _field(choice, "text", str)
        ids = list(self._tokenizer.encode(text, add_special_tokens=False))
        count = _field(usage, "completion_tokens", int)
        end = choice["finish_reason"] == "stop" and not (ids and ids[-1] in self.ends)
        if self._tokenizer.decode(ids, skip_special_tokens=False) != text or count not in (
            len(ids),
            len(ids) + end,
        ):
            raise ModelError(
                f"the server counted {count} tokens in a text that this tokenizer reads as "
                f"{len(ids)}: what the model wrote cannot be told; use a server that returns token "
                "ids (vLLM does)"
            )
        return ids


def _as_text() -> bool:
    named = os.environ.get(PROMPTS, "ids")
    if named not in ("ids", "text"):
        raise ConfigError(f"{PROMPTS} must be ids or text, not {named!r}")
    return named == "text"


def _field(answer: Any, name: str, kind: type[_Kind]) -> _Kind:
    """Return a field of an answer, or of a part of it.

    Raises `ModelError` where it is not there, empty, or not of the `kind` that the API has.
    """
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, kind) or found == []:
        raise ModelError(
            f"the server's answer has no {_KINDS[kind]} {name!r}; is {URL} an OpenAI-style API?"
        )
    return found


def _token_ids(choice: Mapping[str, Any]) -> list[int] | None:
    """Return the ids that a server sends beside the text; None where it sends none."""
    ids = choice.get("token_ids")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids):
        raise ModelError(
            "the server's answer has 'token_ids' that are no list of token ids; use another "
            "server, or a version of it that speaks vLLM's API"
        )
    return ids
