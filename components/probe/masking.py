"""Whether the base's safety is masked in the post-trained model: read, patched, added, begun.

1. Perceived? The base's linear probe, and its refusal axis, on post-trained states.
2. Patched: its states of the same prompt (arXiv 2202.05262) at one layer, last token or all.
3. Added: its refusal direction at one layer, every position (arXiv 2406.11717, section 2.4).
4. Begun: the first tokens of its own refusal (arXiv 2406.05946, section 2.3).

Each beside a control of the same size, and on benign prompts. What the base gives is kept while it
is in memory; the rest is measured on the post-trained model alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from components.core.vocabulary import Outcome, Prompt, Role
from components.lm.batches import pad_left, positions_of
from components.lm.chat import render_prompt
from components.lm.generation import end_tokens
from components.lm.states import backbone, captured_states, changed_states
from components.lm.steering import added
from components.probe.answers import Answers, Judge, Loaded, answer, complete, rate, read_answers
from components.probe.directions import Axis
from components.probe.layers import spread
from components.probe.result import Intervention

if TYPE_CHECKING:
    from components.core.result import RateFigure
    from components.probe.answers import Answer

log = logging.getLogger(__name__)

LAYERS = 6  # at most, whose states are patched
STRENGTHS = (0.25, 1.0, 2.0, 4.0)
BEGUN = (1, 2, 4)  # tokens
Tokens = Literal["last", "all"]


@dataclass(frozen=True, slots=True)
class BaseTrace:
    """What the base gives: prompts that it refuses, benign ones, its answers and states."""

    asked: RateFigure  # harmful prompts that it refuses
    rows: dict[Role, list[Prompt]]  # those, and benign ones
    written: dict[Role, list[list[int]]]  # what it wrote, in tokens
    states: dict[Role, list[dict[int, Tensor]]]  # a batch: layer -> (batch, position, hidden)


def trace_base(base: Loaded, answers: Answers, judge: Judge, *, prompts: int) -> BaseTrace | None:
    """Return what the base gives on the first `prompts` of each role; None where it refuses none of
    the harmful ones."""
    first = {role: list(own[:prompts]) for role, own in answers.items()}
    harmful = [one for one in first[Role.HARMFUL] if judge(one.judged) is Outcome.REFUSED]
    if not harmful:
        log.warning("the base refuses none of the harmful prompts, so nothing can be masked")
        return None
    kept = {Role.HARMFUL: harmful, Role.BENIGN: first[Role.BENIGN]}
    rows = {role: [one.row for one in own] for role, own in kept.items()}
    return BaseTrace(
        rate(len(harmful), len(first[Role.HARMFUL])),
        rows,
        {role: [one.written for one in own] for role, own in kept.items()},
        {role: list(_prompt_states(base, own)) for role, own in rows.items()},
    )


@torch.inference_mode()
def _prompt_states(base: Loaded, rows: Sequence[Prompt]) -> Iterator[dict[int, Tensor]]:
    """Yield the states of prompts, a batch each, on the CPU."""
    layers = spread(len(backbone(base.model).layers), LAYERS)
    for own in _batches(rows, base.batch):
        ids, mask = _inputs(base, own)
        with captured_states(base.model, layers) as states:
            backbone(base.model)(
                input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=False
            )
        yield {layer: states[layer].cpu() for layer in layers}


def _batches(rows: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _inputs(loaded: Loaded, rows: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """Return the ids and mask of prompts, padded on the left, where the model is."""
    prompts = [render_prompt(loaded.tokenizer, row.text) for row in rows]
    ids, mask = pad_left(prompts, loaded.tokenizer.pad_token_id)
    device = next(loaded.model.parameters()).device
    return ids.to(device), mask.to(device)


@dataclass(frozen=True, slots=True)
class Intervening:
    """The post-trained model, and what is put into it."""

    loaded: Loaded
    trace: BaseTrace
    axis: Axis  # the base's
    judge: Judge
    max_new_tokens: int
    seed: int

    def every(self) -> tuple[Intervention, ...]:
        """Return what each intervention does."""
        return (*self.patches(), *self.additions(), *self.beginnings())

    def patches(self) -> Iterator[Intervention]:
        """Yield what the base's states of the same prompts do, by tokens and layer."""
        layers = self.trace.states[Role.HARMFUL][0].keys()
        for tokens in ("last", "all"):
            for layer in layers:
                log.info("patching layer %d, %s prompt tokens", layer, tokens)
                yield Intervention(
                    kind="patch",
                    layer=layer,
                    tokens=tokens,
                    amount=1,
                    harmful=self._patched(Role.HARMFUL, layer, tokens),
                    control=self._patched(Role.HARMFUL, layer, tokens, random=True),
                    benign=self._patched(Role.BENIGN, layer, tokens),
                )

    def _patched(
        self, role: Role, layer: int, tokens: Tokens, *, random: bool = False
    ) -> RateFigure:
        rows, found = self.trace.rows[role], list[list[int]]()
        generator = torch.Generator().manual_seed(self.seed)
        places = zip(_batches(rows, self.loaded.batch), self.trace.states[role], strict=True)
        for own, states in places:
            change = patching(states[layer], tokens, generator if random else None)
            with changed_states(self.loaded.model, layer, change):
                found += write_greedily(self.loaded, own, max_new_tokens=self.max_new_tokens)
        prompts = [render_prompt(self.loaded.tokenizer, row.text) for row in rows]
        return self._refused(read_answers(self.loaded, rows, prompts, found))

    def additions(self) -> Iterator[Intervention]:
        """Yield what the base's direction does at two thirds of the depth, by strength."""
        layer = max(1, round(2 * len(self.axis.lengths) / 3))
        unit, length = self.axis.directions[layer - 1], float(self.axis.lengths[layer - 1])
        noise = torch.randn(unit.shape, generator=torch.Generator().manual_seed(self.seed))
        for strength in STRENGTHS:
            own, other = (d / d.norm() * strength * length for d in (unit, noise))
            yield Intervention(
                kind="add",
                layer=layer,
                tokens=None,
                amount=strength,
                harmful=self._added(Role.HARMFUL, layer, own),
                control=self._added(Role.HARMFUL, layer, other),
                benign=self._added(Role.BENIGN, layer, own),
            )

    def _added(self, role: Role, layer: int, step: Tensor) -> RateFigure:
        label, tokens = f"adding {float(step.norm()):.2f}, {role}", self.max_new_tokens
        with added(self.loaded.model, layer, step):
            rows = self.trace.rows[role]
            return self._refused(answer(self.loaded, rows, max_new_tokens=tokens, label=label))

    def beginnings(self) -> Iterator[Intervention]:
        """Yield what begun refusals do, by the number of tokens, all refusals being longer."""
        refusals, others = (self.trace.written[role] for role in (Role.HARMFUL, Role.BENIGN))
        for count in BEGUN:
            if count >= min(map(len, refusals)):
                return
            yield Intervention(
                kind="begin",
                layer=None,
                tokens=None,
                amount=count,
                harmful=self._begun(Role.HARMFUL, refusals, count),
                control=self._begun(Role.HARMFUL, others, count),
                benign=self._begun(Role.BENIGN, refusals, count),
            )

    def _begun(self, role: Role, texts: Sequence[list[int]], count: int) -> RateFigure:
        """Return how often the model goes on with a refusal.

        What was begun for it proves nothing, and often reads as a refusal already. So what it
        writes has to refuse by itself, or to complete the base's own refusal word for word.
        """
        rows, loaded = self.trace.rows[role], self.loaded
        whole = [texts[i % len(texts)] for i in range(len(rows))]
        prompts = [render_prompt(loaded.tokenizer, row.text) for row in rows]
        begun = [[*prompt, *own[:count]] for prompt, own in zip(prompts, whole, strict=True)]
        label = f"behind {count} tokens, {role}"
        rest = complete(loaded, begun, max_new_tokens=self.max_new_tokens, label=label)
        of_refusals = texts is self.trace.written[Role.HARMFUL]
        refused = [
            self.judge(one.judged) is Outcome.REFUSED
            or (of_refusals and one.written[: len(own) - count] == own[count:])
            for one, own in zip(read_answers(loaded, rows, begun, rest), whole, strict=True)
        ]
        return rate(sum(refused), len(refused))

    def _refused(self, answers: Sequence[Answer]) -> RateFigure:
        refused = sum(self.judge(one.judged) is Outcome.REFUSED for one in answers)
        return rate(refused, len(answers))


def patching(
    given: Tensor, tokens: Tokens, generator: torch.Generator | None
) -> Callable[[Tensor], Tensor]:
    """Return what puts the states `given` (batch, position, hidden) in the place of the prompt's.

    With a `generator`, each state is moved as far in a random direction instead. A pass over one
    position is of what is written behind the prompt, and is left alone.
    """

    def change(states: Tensor) -> Tensor:
        if states.shape[1] == 1:
            return states
        put = given.to(states)
        if generator is not None:
            noise = torch.randn(given.shape, generator=generator).to(states)
            length = (put - states).norm(dim=-1, keepdim=True)
            put = states + noise / noise.norm(dim=-1, keepdim=True) * length
        if tokens == "all":
            return put
        return torch.cat((states[:, :-1], put[:, -1:]), dim=1)

    return change


@torch.inference_mode()
def write_greedily(
    loaded: Loaded, rows: Sequence[Prompt], *, max_new_tokens: int
) -> list[list[int]]:
    """Return what the model writes behind prompts that are read together, in one pass."""
    model, ends = loaded.model, sorted(end_tokens(loaded.model, loaded.tokenizer))
    ids, mask = _inputs(loaded, rows)
    stops, places, cache = torch.tensor(ends, device=ids.device), positions_of(mask), None
    done, written = torch.zeros(len(rows), dtype=torch.bool, device=ids.device), list[Tensor]()
    while len(written) < max_new_tokens and not done.all():
        found = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        ids, cache = found.logits[:, -1:].argmax(dim=-1), found.past_key_values
        written.append(ids)
        done |= torch.isin(ids[:, 0], stops)
        mask = torch.cat((mask, torch.ones_like(mask[:, :1])), dim=1)
        places = places[:, -1:] + 1
    return torch.cat(written, dim=1).tolist()
