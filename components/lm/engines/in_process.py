"""The engine in this process: transformers' own forward pass, in a batch that never runs empty.

Rows leave the batch when they end, and waiting prompts take their places, the longest first. The
prompt of several samples is read once. What a row says does not depend on the others in its batch.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from components.core.errors import ModelError
from components.lm.batches import longest_first, pad_left, positions_of
from components.lm.engines.cache import RoomyLayer, join_rows
from components.lm.engines.choice import TOLERANCE, Sampling, choose
from components.lm.engines.protocol import CACHED_TOKENS, Engine, Groups, Request
from components.lm.loading import available_memory

log = logging.getLogger(__name__)

CACHE_SHARE = 0.4  # of a GPU's free memory: while rows are exchanged, the cache is there twice
_EXCHANGE = 8  # rows are exchanged when an eighth of them has ended, since all that stay are copied
_PAD = 0  # any token; the mask hides it
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


def in_process(
    model: Any, ends: frozenset[int], *, rows: int, cached_tokens: int | None = None
) -> Engine:
    """Return the engine of a causal language model in memory, with an adapter or without.

    At most `rows` completions are written at once, and at most `cached_tokens` positions cached,
    padding included, by default what `cache_room` says: when rows grow out of it, the youngest wait
    and are read again later.
    """
    kinds = {*(getattr(model.config, "layer_types", None) or ())} - _ATTENTION
    if kinds:
        raise ModelError(
            f"{model.config.model_type} has layers of the kind {', '.join(sorted(kinds))}, whose "
            "rows cannot leave a batch here; set SAFEREACT_ENGINE to vllm or openai"
        )
    room = cache_room(model) if cached_tokens is None else cached_tokens
    return Engine("transformers", ends, partial(_write, model, ends, rows, room))


def cache_room(model: Any) -> int:
    """Return the positions that the cache of a model may hold: on a GPU as many as fit into a share
    of the memory that is free once the model is loaded, elsewhere `CACHED_TOKENS`.

    A position has a key and a value in every layer. Where the device does not tell what is free, it
    is `CACHED_TOKENS`, too.
    """
    device = next(model.parameters()).device
    free = available_memory(device) if device.type != "cpu" else None
    if free is None:
        return CACHED_TOKENS
    return int(free * CACHE_SHARE / position_bytes(model.config, model.dtype.itemsize))


def position_bytes(config: Any, itemsize: int) -> int:
    """Return the bytes of one position in the cache of a model with these settings."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * itemsize)


@torch.inference_mode()
def _write(
    model: Any, ends: frozenset[int], rows: int, cached_tokens: int, requests: Sequence[Request]
) -> Groups:
    # Half precision rounds so much that too many tokens would be doubtful.
    tolerance = TOLERANCE if model.dtype == torch.float32 else 0.0
    batch = RunningBatch(model, ends, tolerance)
    # The samples of one prompt stand together.
    waiting = deque(
        RunningSample(requests[i], i, sample)
        for i in longest_first([request.prompt for request in requests])
        for sample in range(requests[i].samples)
    )
    written: list[dict[int, tuple[int, ...]]] = [{} for _ in requests]
    while waiting or batch.live:
        batch.refill(waiting, rows, cached_tokens)
        finished = {}
        for row in batch.step():
            samples = written[row.index]
            samples[row.sample] = tuple(row.ids[len(row.request.prompt) :])
            if len(samples) == row.request.samples:
                finished[row.index] = tuple(samples[i] for i in range(len(samples)))
        if finished:
            yield finished
    log.debug("%d tokens were so close that their rows were computed again", batch.doubts)


@dataclass
class RunningSample:
    """One sample of one request while it is written."""

    request: Request
    index: int  # of the request
    sample: int
    ids: list[int] = field(init=False)  # the prompt and what was written
    ended: bool = False

    def __post_init__(self) -> None:
        self.ids = list(self.request.prompt)

    @cached_property
    def _numbers(self) -> list[float]:
        count, generator = self.request.max_new_tokens, torch.Generator()
        generator.manual_seed(self.request.sample_seed(self.sample))
        return torch.rand(count, generator=generator, dtype=torch.float64).tolist()

    def uniform(self) -> float:
        """Return the number in [0, 1) that decides the next token; 0 for a greedy sample."""
        greedy = self.request.temperature == 0
        return 0.0 if greedy else self._numbers[len(self.ids) - len(self.request.prompt)]

    def append(self, token: int, ends: frozenset[int]) -> None:
        """Add the next token; an end token or the limit ends the sample."""
        self.ids.append(token)
        limit = len(self.request.prompt) + self.request.max_new_tokens
        self.ended = token in ends or len(self.ids) == limit


class RunningBatch:
    """Rows with their keys and values, all but each row's last token among them.

    `tolerance`: see `choice`; 0 where logits of different batches differ too much for it.
    """

    def __init__(self, model: Any, ends: frozenset[int], tolerance: float) -> None:
        self.rows: list[RunningSample] = []
        self.doubts = 0  # tokens whose row was computed once more, alone
        self._model, self._ends, self._tolerance = model, ends, tolerance
        self._device = next(model.parameters()).device
        self._cache: Cache | None = None

    @property
    def live(self) -> list[int]:
        """The places of the rows that have not ended."""
        return [place for place, row in enumerate(self.rows) if not row.ended]

    @property
    def width(self) -> int:
        """Positions cached for every row, padding included."""
        return 0 if self._cache is None else self._cache.get_seq_length()

    def refill(self, waiting: deque[RunningSample], rows: int, cached_tokens: int) -> None:
        """Let rows that ended leave the batch and waiting ones join, where it pays."""
        live = self.live
        ended = len(self.rows) - len(live)
        crowded = len(live) > 1 and len(self.rows) * (self.width + 1) > cached_tokens
        if live and not crowded and ended < max(1, len(self.rows) // _EXCHANGE):
            return
        budget = cached_tokens - cached_tokens // 8  # the rest is for the rows to grow into
        width = max((len(self.rows[place].ids) for place in live), default=0)
        while len(live) > 1 and len(live) * width > budget:
            waiting.appendleft(self.rows[live.pop()])
        new: list[RunningSample] = []
        while waiting and len(live) + len(new) < rows:
            width = max(width, len(waiting[0].ids))
            if live + new and (len(live) + len(new) + 1) * width > budget:
                break
            new.append(waiting.popleft())
        self.exchange(live, new)

    def exchange(self, stay: Sequence[int], new: Sequence[RunningSample]) -> None:
        """Keep the rows at the places `stay` and let `new` ones join behind them.

        Rows of `new` with the same tokens, such as the samples of one prompt, are read once.
        """
        parts = []
        if stay and self._cache is not None:
            parts.append((self._cache, torch.tensor(stay, device=self._device)))
        if new:
            order: dict[tuple[int, ...], int] = {}
            places = [order.setdefault(tuple(row.ids[:-1]), len(order)) for row in new]
            parts.append((self._read(list(order)), torch.tensor(places, device=self._device)))
        self.rows = [*(self.rows[place] for place in stay), *new]
        width = max((len(row.ids) - 1 for row in self.rows), default=0)
        self._cache = join_rows(parts, width) if width else None

    def step(self) -> list[RunningSample]:
        """Write the next token of every row that has not ended; return those that end with it."""
        if self._cache is None:
            self._cache = Cache(layer_class_to_replicate=RoomyLayer)
        width = self.width + 1
        lengths = torch.tensor([[len(row.ids)] for row in self.rows])
        mask = (torch.arange(width) >= width - lengths).long()
        last = torch.tensor([row.ids[-1:] for row in self.rows])
        logits = self._forward(last, mask, lengths - 1, self._cache)[:, -1]
        live = self.live
        rows = [self.rows[place] for place in live]
        tokens = self._next(logits if len(rows) == len(logits) else logits[live], rows)
        for row, token in zip(rows, tokens, strict=True):
            row.append(token, self._ends)
        return [row for row in rows if row.ended]

    def _read(self, prompts: Sequence[Sequence[int]]) -> Cache:
        """Return the keys and values of `prompts`, as long as the longest of them."""
        ids, mask = pad_left(prompts, _PAD)
        if ids.shape[1] == 0:  # prompts of one token, which the next step reads
            ids = mask = torch.zeros(len(prompts), 1, dtype=torch.long)
        cache = Cache(layer_class_to_replicate=RoomyLayer)
        # Nothing is predicted here. The head on the last of several positions would be costly, too:
        # of a frozen weight and such a view, torch makes a copy of the weight for every row.
        nowhere = torch.empty(0, dtype=torch.long, device=self._device)
        self._forward(ids, mask, positions_of(mask), cache, at=nowhere)
        return cache

    def _forward(
        self,
        ids: Tensor,
        mask: Tensor,
        positions: Tensor,
        cache: Cache | None,
        *,
        at: int | Tensor = 1,
    ) -> Tensor:
        """Return the logits (batch, position, token) of the last `at` positions or of those that
        it lists; `cache` grows by `ids`."""
        output = self._model(
            input_ids=ids.to(self._device),
            attention_mask=mask.to(self._device),
            position_ids=positions.to(self._device),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=at,
        )
        logits: Tensor = output.logits
        return logits

    def _next(self, logits: Tensor, rows: Sequence[RunningSample]) -> list[int]:
        sampling = Sampling(
            torch.tensor([row.request.temperature for row in rows]).to(logits.device),
            torch.tensor([row.request.top_p for row in rows]).to(logits.device),
            torch.tensor([row.request.top_k for row in rows]).to(logits.device),
            torch.tensor([row.uniform() for row in rows], dtype=torch.float64).to(logits.device),
        )
        tokens, doubtful = choose(logits, sampling, self._tolerance)
        chosen = tokens.tolist()
        for place in doubtful.nonzero().flatten().tolist():
            ids = torch.tensor([rows[place].ids])
            mask = torch.ones_like(ids)
            alone = self._forward(ids, mask, positions_of(mask), None)[:, -1]
            chosen[place] = choose(alone, sampling[place : place + 1], 0.0)[0].item()
            self.doubts += 1
        return chosen
