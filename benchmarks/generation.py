"""How fast completions are written: ours against plain batches, same prompts, one run.

The plain side takes the prompts in the order of the data set, eight at a time, pads them to the
longest and calls `model.generate`, which runs until the last of the eight has ended. Ours is the
engine of components/lm/engines. Both are greedy, and their token ids must be the same.

A rule in the model ends a completion at position
p with probability 1 / (40 + p / 2), by a hash of token and position: behind a prompt of 60 tokens
half of them have ended after 58 tokens, and 12 in 100 reach the limit of 256. Lengths are printed.
The head is not tied to the embedding, since a tied random model repeats its last token for ever,
which would hide mistakes.

`python -m benchmarks.generation --help`, or `make bench-generation`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel

from benchmarks.common import Shape, random_llama, read_arguments, write_figures
from components.lm.batches import pad_left
from components.lm.engines.in_process import in_process
from components.lm.engines.protocol import Request, collect

BAR = 3.0
PLAIN_BATCH = 8
END = 0
Written = list[tuple[int, ...]]


@dataclass(frozen=True)
class Case(Shape):
    """What a model is asked; the default is SmolLM2-135M with half of its layers."""

    layers: int = 15
    prompts: int = 48
    limit: int = 256  # new tokens at most
    rows: int = 24  # written at once by ours


def draw_prompts(case: Case) -> list[tuple[int, ...]]:
    """Return prompts of random tokens.

    Lengths are log-normal with a median of 60 tokens and sigma 0.7, within 12 and 400.
    """
    generator = np.random.default_rng(case.seed)
    lengths = np.clip(generator.lognormal(np.log(60), 0.7, case.prompts), 12, 400).astype(int)
    return [tuple(generator.integers(END + 1, case.vocabulary, n).tolist()) for n in lengths]


def build(case: Case) -> PreTrainedModel:
    """Return a random Llama of the case's shape, in single precision, with the rule that ends."""
    model = random_llama(case, case.seed, tied=False)
    model.register_forward_hook(_end, with_kwargs=True)
    return model


def _end(model: Any, args: Any, given: dict[str, Any], output: Any) -> None:
    """Make the end token the likeliest where token and position say so, and nowhere else."""
    if not output.logits.numel():  # of a pass that only reads prompts
        return
    token, position = given["input_ids"][:, -1], given["position_ids"][:, -1]
    mixed = (token * 0x9E3779B1 + position * 0x85EBCA77) & 0xFFFFFFFF
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
    ends = (mixed ^ (mixed >> 12)) % (40 + position // 2) == 0
    logits = output.logits[:, -1]
    logits[:, END] = torch.where(ends, logits.amax(dim=-1) + 1, logits.amin(dim=-1))


@torch.inference_mode()
def plain(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], case: Case) -> Written:
    """Return the completions, written in batches of eight in the order of the data set."""
    settings = GenerationConfig(
        max_new_tokens=case.limit,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=END,
    )
    written = []
    for start in range(0, len(prompts), PLAIN_BATCH):
        ids, mask = pad_left(prompts[start : start + PLAIN_BATCH], END)
        output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        for row in output[:, ids.shape[1] :].tolist():
            end = row.index(END) + 1 if END in row else len(row)
            written.append(tuple(row[:end]))
    return written


def ours(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], case: Case) -> Written:
    """Return the completions, written by the engine."""
    engine = in_process(model, frozenset({END}), rows=case.rows)
    asked = [Request(prompt, case.limit) for prompt in prompts]
    return [samples[0] for samples in collect(engine, asked, label="ours")]


def timed(write: Callable[..., Written], *given: Any) -> tuple[Written, dict[str, float]]:
    """Return what `write` returns, with the seconds that passed and those of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    written = write(*given)
    return written, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def measure(case: Case) -> dict[str, Any]:
    """Return both sides' seconds, their ratio, and how many completions are the same."""
    model, prompts = build(case), draw_prompts(case)
    for side in (plain, ours):  # warms up
        side(model, prompts[:2], replace(case, limit=2))
    expected, slow = timed(plain, model, prompts, case)
    written, quick = timed(ours, model, prompts, case)
    return {
        "seconds": {"plain": slow, "ours": quick},
        "speed": {clock: slow[clock] / quick[clock] for clock in slow},
        "same": sum(a == b for a, b in zip(expected, written, strict=True)),
        "tokens": sum(map(len, expected)),
        "prompt_tokens": np.percentile([len(p) for p in prompts], (0, 25, 50, 75, 100)).tolist(),
        "new_tokens": np.percentile([len(w) for w in expected], (0, 25, 50, 75, 100)).tolist(),
        "at_limit": sum(len(w) == case.limit for w in expected),
    }


def report(document: dict[str, Any]) -> str:
    """Return the figures as a table."""
    case, measured = document["case"], document["measured"]

    def quartiles(name: str) -> str:
        return "/".join(f"{value:.0f}" for value in measured[name])

    lines = [
        f"{case['prompts']} prompts, seed {case['seed']}; {case['layers']} layers of "
        f"{case['hidden']}; at most {case['limit']} new tokens",
        f"prompt tokens (least, quartiles, most) {quartiles('prompt_tokens')}, new tokens "
        f"{quartiles('new_tokens')}, {measured['at_limit']} at the limit",
        f"{document['machine']}; {document['command']}",
        "",
        f"{'':22}{'seconds':>9}{'of CPU':>9}{'tokens/s':>10}",
    ]
    names = {"plain": f"batches of {PLAIN_BATCH}", "ours": f"ours, {case['rows']} rows"}
    for side, seconds in measured["seconds"].items():
        rate = measured["tokens"] / seconds["wall"]
        lines.append(f"{names[side]:22}{seconds['wall']:>9.1f}{seconds['cpu']:>9.1f}{rate:>10.1f}")
    lines += [
        "",
        f"ratio {measured['speed']['wall']:.2f} ({measured['speed']['cpu']:.2f} of CPU time); bar: "
        f"at least {BAR:g}",
        f"same completions: {measured['same']} of {case['prompts']}; bar: all",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run both sides, print a table and write the figures; exit code 1 below a bar."""
    case, out = read_arguments(
        __doc__,
        Case,
        "generation.json",
        prompts="asked of each side",
        limit="new tokens at most",
        rows="written at once by ours",
    )
    measured = measure(case)
    document = write_figures(out, "benchmarks.generation", case, measured=measured, bar=BAR)
    print(report(document))
    sys.exit(measured["speed"]["wall"] < BAR or measured["same"] < case.prompts)


if __name__ == "__main__":
    main()
