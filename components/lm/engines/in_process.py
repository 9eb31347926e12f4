"""The engine in this process: transformers' own forward pass, in a batch that never runs empty.

Rows leave the batch when they end, and waiting prompts take their places, the longest first. The
prompt of several samples is read once. What a row says does not depend on the others in its batch.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from components.core.errors import ModelError
from components.lm.engines.choice import TOLERANCE
from components.lm.engines.protocol import CACHED_TOKENS, Completions, Request
from components.lm.engines.running import Row, RunningBatch

log = logging.getLogger(__name__)

_EXCHANGE = 8  # rows are exchanged when an eighth of them has ended, since all that stay are copied
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


class InProcess:
    """Writes with a causal language model in memory, with an adapter or without.

    At most `rows` completions are written at once, and at most `cached_tokens` positions cached,
    padding included: when rows grow out of it, the youngest wait and are read again later.
    """

    name = "transformers"

    def __init__(
        self, model: Any, ends: frozenset[int], *, rows: int, cached_tokens: int = CACHED_TOKENS
    ) -> None:
        kinds = set(getattr(model.config, "layer_types", None) or ())
        if kinds - _ATTENTION:
            raise ModelError(
                f"{model.config.model_type} has layers of the kind "
                f"{', '.join(sorted(kinds - _ATTENTION))}, whose rows cannot leave a batch here; "
                "set SAFEREACT_ENGINE to vllm or openai"
            )
        self.ends = ends
        self._model, self._rows, self._budget = model, rows, cached_tokens
        # Half precision rounds so much that too many tokens would be doubtful.
        self._tolerance = TOLERANCE if model.dtype == torch.float32 else 0.0

    @torch.inference_mode()
    def write(self, requests: Sequence[Request]) -> Iterator[dict[int, Completions]]:
        """Yield the finished requests by their index, as soon as they are finished."""
        batch = RunningBatch(self._model, self.ends, self._tolerance)
        waiting = _in_order(requests)
        written: list[dict[int, tuple[int, ...]]] = [{} for _ in requests]
        while waiting or any(not row.ended for row in batch.rows):
            self._exchange(batch, waiting)
            live = [row for row in batch.rows if not row.ended]
            batch.step()
            group = {}
            for row in live:
                if row.ended:
                    samples = written[row.index]
                    samples[row.sample] = row.written
                    if len(samples) == row.request.samples:
                        group[row.index] = tuple(samples[i] for i in range(len(samples)))
            if group:
                yield group
        log.debug("%d tokens were so close that their rows were computed again", batch.doubts)

    def _exchange(self, batch: RunningBatch, waiting: deque[Row]) -> None:
        """Let rows that ended leave the batch and waiting ones join, where it pays."""
        live = [place for place, row in enumerate(batch.rows) if not row.ended]
        ended = len(batch.rows) - len(live)
        crowded = len(live) > 1 and len(batch.rows) * (batch.width + 1) > self._budget
        if live and not crowded and ended < max(1, len(batch.rows) // _EXCHANGE):
            return
        # An eighth of the budget is left for the rows to grow into.
        budget = self._budget - self._budget // 8
        width = max((len(batch.rows[place].ids) for place in live), default=0)
        while len(live) > 1 and len(live) * width > budget:
            waiting.appendleft(batch.rows[live.pop()])
        new: list[Row] = []
        while waiting and len(live) + len(new) < self._rows:
            width = max(width, len(waiting[0].ids))
            if live + new and (len(live) + len(new) + 1) * width > budget:
                break
            new.append(waiting.popleft())
        batch.exchange(live, new)


def _in_order(requests: Sequence[Request]) -> deque[Row]:
    """Return a row for every sample, the longest prompts first, so that memory that will not do
    is found out at once; samples of one prompt stand together."""
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), i))
    return deque(
        Row.of(requests[i], i, sample) for i in order for sample in range(requests[i].samples)
    )
