"""What a training step costs: ours against a straightforward one, on the same batches, in one run.

The straightforward step keeps teacher and student in memory, asks the teacher and the frozen
student in every step, pads to fixed widths (128 tokens harmful, 512 retained, as the authors' code
does) and runs all layers and the LM head. Ours has both targets stored, pads to the longest row,
ends at the deepest target layer and asks the head for nothing. Both are measured for `safereact`,
which compares hidden states, and for `distil`, which compares next tokens: there the
straightforward step has the logits of every position, ours those that the loss needs. Ours runs
twice: the whole batch, in which the trainer cuts forward passes where padding takes much memory,
and in micro-batches of one row, which need no padding. The bars are for the whole batch. All
minimise the same masked loss with the same optimiser, so their losses must be equal.

Each side runs in a process of its own, so that its peak memory is its own.
`python -m benchmarks.training_step --help`, or `make bench`.
"""

from __future__ import annotations

import gc
import logging
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from transformers import TrainerCallback

from benchmarks.common import Shape, random_llama, read_arguments, write_figures
from components.core.run_record import peak_memory
from components.train.adapters import BaseName, add_lora
from components.train.batches import Batch, Plan, TargetRows, store_targets
from components.train.divergence import Likely, divergence
from components.train.methods import Distil, SafeReAct
from components.train.methods.safereact import mean_distance
from components.train.rows import TrainingRow
from components.train.settings import Lora, TrainSettings
from components.train.trainer import AdapterTrainer

STRENGTH, SCHEDULE, LR, CLIP = 10.0, 1.5, 2e-5, 1.0
LIKELIEST = 64  # next tokens that are stored
REFUSAL, PROMPT = 16, 2  # tokens of a refusal, and of its prompt's end, that count
BARS = {"speed": 3.0, "memory": 0.6, "loss": 1e-4}
PLAIN = "straightforward"
BARRED = "ours"  # the side that the bars are for
# Ours with its rows a forward pass; None: the whole batch.
OURS: dict[str, int | None] = {BARRED: None, "ours, row by row": 1}
METHODS: dict[str, type[SafeReAct] | type[Distil]] = {"safereact": SafeReAct, "distil": Distil}


@dataclass(frozen=True)
class Case(Shape):
    """What a model is trained on."""

    steps: int = 5
    batch: int = 4
    targets: tuple[int, ...] = (5, 10, 15, 20, 25)
    widths: tuple[int, int] = (128, 512)  # of the straightforward step's padding


def draw_rows(case: Case) -> dict[str, TargetRows]:
    """Return harmful and retained rows of random tokens, as many as all steps need, untargeted.

    Harmful prompt and refusal: 20 to 80 tokens together, uniform. Retained prompt and chain of
    thought: log-normal with a median of 220 tokens and sigma 0.5, within 64 and 512, a quarter of
    it the prompt. Both are cut to the straightforward step's widths where these are smaller.
    """
    generator = np.random.default_rng(case.seed)
    count = case.steps * case.batch
    lengths = (
        generator.integers(20, 81, count),
        np.clip(generator.lognormal(np.log(220), 0.5, count), 64, 512).astype(int),
    )
    groups = {}
    for name, drawn, width in zip(("harmful", "retained"), lengths, case.widths, strict=True):
        rows = []
        for i, length in enumerate(np.minimum(drawn, width).tolist()):
            tokens = tuple(generator.integers(0, case.vocabulary, length + 1).tolist())
            begin = length // 4 if name == "retained" else length - REFUSAL
            rows.append(TrainingRow(f"{name}-{i}", tokens[:begin], tokens[begin:]))
        counted = [len(r.inputs) if name == "retained" else REFUSAL + PROMPT for r in rows]
        groups[name] = TargetRows(rows, counted)
    return groups


def build_student(case: Case) -> PeftModel:
    """Return the student with an adapter that changes its states already, so that no part of the
    loss is zero."""
    adapted = add_lora(
        random_llama(case, case.seed, tied=True),
        Lora(r=16, alpha=16, dropout=0),
        layers=range(1, max(case.targets) + 1),
        base=BaseName("random"),
        seed=case.seed,
    )
    generator = torch.Generator().manual_seed(case.seed)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.02, generator=generator)
    return adapted


def ours(
    case: Case, scratch: Path, *, method: str = "safereact", micro_batch: int | None = None
) -> dict[str, Any]:
    """Return losses and seconds of every step, and the seconds that the targets took once."""
    begin = time.perf_counter()
    groups = {}
    for (name, group), seed, layers in zip(
        draw_rows(case).items(),
        (case.seed + 1, case.seed),  # the teacher's, and the student's own
        (case.targets, range(1, max(case.targets) + 1)),
        strict=True,
    ):
        layers = layers if method == "safereact" else ()
        model, folder = random_llama(case, seed, tied=True), scratch / name
        stored = store_targets(
            model, group.rows, group.counted, layers=layers, likeliest=LIKELIEST, folder=folder
        )
        groups[name] = TargetRows(group.rows, group.counted, stored)
        del model
        gc.collect()
    once = time.perf_counter() - begin
    trainer = AdapterTrainer(
        build_student(case),
        Plan(groups, _pairs(case), {}),
        _method(case, method).loss,
        label="ours",
        lr=LR,
        seed=case.seed,
        scratch=scratch / "trainer",
        micro_batch=micro_batch,
        checkpoint_every=case.steps,
    )
    clock = _Clock()
    trainer.add_callback(clock)
    curves = trainer.finish().curves
    names = ("alignment" if method == "safereact" else "distillation", "retention")
    losses = [
        _loss(*(line[name] for name in names), step, case, method)
        for step, line in enumerate(curves)
    ]
    return {"losses": losses, "seconds": clock.seconds, "seconds_once": once}


def straightforward(case: Case, *, method: str = "safereact") -> dict[str, Any]:
    """Return losses and seconds of every step, computed the obvious way."""
    groups = draw_rows(case).values()
    teacher, student = random_llama(case, case.seed + 1, tied=True), build_student(case)
    weights = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=0.0)
    retained, compare = range(1, max(case.targets) + 1), COMPARE[method]
    losses, seconds = [], []
    student.train()
    for number, pairs in enumerate(_pairs(case)):
        begin = time.perf_counter()
        harmful, retain = (
            _padded(group, rows, width)
            for group, rows, width in zip(
                groups, zip(*pairs, strict=True), case.widths, strict=True
            )
        )
        with torch.no_grad():
            taught = _run(teacher, harmful, method)
            with student.disable_adapter():
                kept = _run(student, retain, method)
        alignment = compare(_run(student, harmful, method), taught, harmful, case.targets)
        retention = compare(_run(student, retain, method), kept, retain, retained)
        loss = _loss(alignment, retention, number, case, method)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    return {"losses": losses, "seconds": seconds}


def _pairs(case: Case) -> list[list[tuple[int, int]]]:
    starts = range(0, case.steps * case.batch, case.batch)
    return [[(i, i) for i in range(start, start + case.batch)] for start in starts]


def _padded(group: TargetRows, rows: tuple[int, ...], width: int) -> Batch:
    batch = group.batch(rows, step=rows)
    missing = (0, width - batch.ids.shape[1])
    ids, mask, predicting = (
        torch.nn.functional.pad(part, missing) for part in (batch.ids, batch.mask, batch.predicting)
    )
    return replace(batch, ids=ids, mask=mask, predicting=predicting)


def _run(model: torch.nn.Module, batch: Batch, method: str) -> Any:
    """Return the states of every layer, or the logits of every position."""
    states = method == "safereact"
    output = model(input_ids=batch.ids, output_hidden_states=states, use_cache=False)
    return output.hidden_states if states else output.logits


def _distance(states: Any, targets: Any, batch: Batch, layers: Any) -> Tensor:
    mask, chosen = batch.mask, [states[layer] for layer in layers]
    wanted = torch.stack([targets[layer][mask] for layer in layers], dim=1)
    return mean_distance(chosen, wanted, mask, positions=batch.positions)


def _divergence(logits: Tensor, targets: Tensor, batch: Batch, layers: Any) -> Tensor:
    likely = Likely.of(targets[batch.predicting], LIKELIEST)
    return divergence(logits[batch.predicting], likely) / batch.predicted


COMPARE = {"safereact": _distance, "distil": _divergence}


def _method(case: Case, method: str) -> SafeReAct | Distil:
    settings = TrainSettings(steps=case.steps, strength=STRENGTH, schedule=SCHEDULE)
    return METHODS[method](settings, case.targets, case.layers)


def _loss(alignment: Any, retention: Any, step: int, case: Case, method: str) -> Any:
    own = _method(case, method)
    if not isinstance(own, SafeReAct):
        return alignment + own.settings.retain_weight * retention
    c = own.schedule(step)
    return STRENGTH * ((1 - c) * alignment + c * retention)


class _Clock(TrainerCallback):
    """Takes the seconds from one step's end to the next, loading included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.begin = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self.begin)
        self.begin = now


def compare(plain: dict[str, Any], quick: dict[str, Any]) -> dict[str, float]:
    """Return ours over the straightforward one: steps a second, peak memory, and the largest
    relative difference of a step's loss. The first step, which warms up, is not timed."""
    each = [sum(side["seconds"][1:]) / len(side["seconds"][1:]) for side in (plain, quick)]
    pairs = zip(plain["losses"], quick["losses"], strict=True)
    return {
        "speed": each[0] / each[1],
        "memory": quick["peak_mib"] / plain["peak_mib"],
        "loss": max(abs(a - b) / abs(a) for a, b in pairs),
    }


def reaches(ratios: dict[str, float]) -> bool:
    """Tell whether a side's ratios reach the bars."""
    at_most = all(ratios[name] <= BARS[name] for name in ("memory", "loss"))
    return ratios["speed"] >= BARS["speed"] and at_most


def run_side(side: str, method: str, case: Case) -> dict[str, Any]:
    """Return what a side measures, with its peak memory."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        if side == PLAIN:
            measured = straightforward(case, method=method)
        else:
            measured = ours(case, Path(scratch), method=method, micro_batch=OURS[side])
    return {**measured, "peak_mib": peak_memory()}


def main() -> None:
    """Run both sides for each method, print a table and write the figures; exit code 1 where ours,
    the whole batch, misses a bar."""
    case, out = read_arguments(
        __doc__,
        Case,
        "training_step.json",
        steps="of each side; the first warms up",
        batch="rows of each kind a step",
    )
    methods = {}
    for method in METHODS:
        sides = {}
        for name in (PLAIN, *OURS):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                sides[name] = process.submit(run_side, name, method, case).result()
        ratios = {name: compare(sides[PLAIN], sides[name]) for name in OURS}
        methods[method] = {"sides": sides, "ratios": ratios}
    document = write_figures(out, "benchmarks.training_step", case, methods=methods, bars=BARS)
    print(report(document))
    sys.exit(not all(reaches(found["ratios"][BARRED]) for found in methods.values()))


def report(document: dict[str, Any]) -> str:
    """Return the figures as a table."""
    case, bars = document["case"], document["bars"]
    timed = case["steps"] - 1
    head = f"{'steps/s':>9}{'ratio':>7}{'peak MiB':>10}{'ratio':>7}{'loss differs by':>17}"
    lines = [
        f"{case['layers']} layers of {case['hidden']}, targets {list(case['targets'])}, batch "
        f"{case['batch']} + {case['batch']}, seed {case['seed']}; {timed} steps timed a side",
        f"{document['machine']}; {document['command']}",
        "",
    ]
    for method, found in document["methods"].items():
        lines.append(f"{method:18}{head}")
        for name, side in found["sides"].items():
            speed = memory = loss = ""
            if ratios := found["ratios"].get(name):
                speed, memory = f"{ratios['speed']:.2f}", f"{ratios['memory']:.2f}"
                loss = f"{ratios['loss']:.1e}"
            rate, peak = timed / sum(side["seconds"][1:]), side["peak_mib"]
            lines.append(f"{name:18}{rate:>9.3f}{speed:>7}{peak:>10}{memory:>7}{loss:>17}")
        lines.append("")
    once = sum(found["sides"][BARRED]["seconds_once"] for found in document["methods"].values())
    lines += [
        f"bars: at least {bars['speed']:g} times the steps a second, at most {bars['memory']:g} "
        "times the peak memory (VmHWM of the",
        f"whole process), every loss equal to {bars['loss']:g} of its size",
        f"storing the targets of all rows took ours {once:.1f} s, once, not in its steps",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
