"""One step has one gradient: however it is cut into micro-batches or shared by processes."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from components.core.errors import TrainingError
from components.train.batches import Plan, TargetRows, store_targets
from components.train.methods.safereact import mean_distance
from components.train.rows import TrainingRow
from components.train.trainer import share_batch
from tests.components.train.worker import LAYERS, forks, gradients, write_gradients

WHICH = ("safereact", "sft")


@pytest.fixture(scope="module")
def case(random_models, tmp_path_factory) -> Path:
    """Twelve rows of each kind, of very different length, their targets the base model's states."""
    from components.lm.loading import load_model

    folder = tmp_path_factory.mktemp("case")
    shutil.copytree(random_models.folder / "post-trained", folder / "post-trained")
    generator = torch.Generator().manual_seed(0)
    for name, layers in (("harmful", LAYERS), ("retained", range(1, max(LAYERS) + 1))):
        rows = []
        for i in range(12):
            words = torch.randint(10, 70, (4 + 3 * (i % 7),), generator=generator).tolist()
            rows.append(TrainingRow(f"{name}-{i}", tuple(words[:3]), tuple(words[3:])))
        counted = [min(len(row.inputs), 2 + i % 5) for i, row in enumerate(rows)]
        model = load_model(random_models.folder / "base")
        store_targets(model, rows, counted, layers=layers, likeliest=1, folder=folder / name)
        TargetRows(rows, counted).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def whole(case, tmp_path_factory):
    """The gradients and figures of steps that are neither cut nor shared."""
    return {w: gradients(case, w, tmp_path_factory.mktemp(w)) for w in WHICH}


def assert_same_gradients(steps, expected):
    assert len(steps) == len(expected) == 3
    for step, other in zip(steps, expected, strict=True):
        assert step.keys() == other.keys() and len(step) == 2 * 7 * max(LAYERS)
        for name, gradient in step.items():
            scale = other[name].abs().max().item()
            torch.testing.assert_close(gradient, other[name], rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_micro_batches_change_nothing(case, whole, tmp_path, which, micro_batch):
    steps, progress = gradients(case, which, tmp_path, micro_batch)
    expected, undivided = whole[which]
    assert_same_gradients(steps, expected)
    assert progress.tokens == undivided.tokens
    for line, other in zip(progress.curves, undivided.curves, strict=True):
        assert line == pytest.approx(other, rel=1e-4)


def test_two_processes_have_the_gradients_of_one(case, whole):
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    both = [
        forks().Process(
            target=write_gradients,
            args=(case, place | {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}),
        )
        for rank in "01"
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    for which in WHICH:
        steps = [{}, {}, {}]
        for key, gradient in load_file(case / f"{which}.safetensors").items():
            number, _, name = key.partition("/")
            steps[int(number)][name] = gradient
        assert_same_gradients(steps, whole[which][0])


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=8),
    cut=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_the_parts_of_a_step_sum_to_its_loss(lengths, cut, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = [TrainingRow(str(i), (1,) * n, ()) for i, n in enumerate(lengths)]
    states = [torch.randn(n, 3, generator=generator) for n in lengths]
    targets = [torch.randn(n, 1, 3, generator=generator) for n in lengths]
    plan = Plan({"harmful": TargetRows(rows, lengths)}, [[(i,) for i in range(len(rows))]], {})
    items = plan.items(0)

    def loss(part):
        batch = plan.collate(part)["harmful"]
        chosen = [i for _, (i,) in part]
        padded = torch.zeros(*batch.mask.shape, 3)
        padded[batch.mask] = torch.cat([states[i] for i in chosen])
        wanted = torch.cat([targets[i] for i in chosen])
        return mean_distance([padded], wanted, batch.mask, positions=batch.positions)

    cut = min(cut, len(items) - 1)
    torch.testing.assert_close(loss(items[:cut]) + loss(items[cut:]), loss(items))


@pytest.mark.parametrize(
    ("batch", "micro_batch", "processes", "expected"),
    [
        (16, None, 1, (16, 1)),
        (16, 4, 1, (4, 4)),
        (16, 4, 2, (4, 2)),
        (16, None, 4, (4, 1)),
        (16, 4, 8, (2, 1)),
        (16, 8, 4, (4, 1)),  # a process's share is smaller than the micro-batch
    ],
)
def test_a_batch_is_shared_evenly(batch, micro_batch, processes, expected):
    assert share_batch(batch, micro_batch, processes) == expected


@pytest.mark.parametrize(("micro_batch", "processes"), [(None, 3), (None, 32), (5, 1)])
def test_a_batch_that_cannot_be_shared_is_refused(micro_batch, processes):
    with pytest.raises(TrainingError, match="batch of 16 cannot be cut evenly"):
        share_batch(16, micro_batch, processes)
