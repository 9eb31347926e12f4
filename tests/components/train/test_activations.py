"""Activations that are computed again: what is kept is counted, and the gradients are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from components.core.errors import TrainingError
from components.lm.loading import load_model
from components.lm.masks import block_widths
from components.lm.states import backbone, captured_states
from components.train.activations import (
    activation_bytes,
    asks_for_checkpoints,
    checkpoint_blocks,
    kept_bytes,
)
from components.train.adapters import BaseName, add_lora
from components.train.batches import Plan, TargetRows, store_targets
from components.train.checkpoints import trained_weights
from components.train.methods import Distil, SafeReAct
from components.train.passes import widest_pass
from components.train.processes import refuse_launcher_settings
from components.train.rows import TrainingRow
from components.train.settings import Lora, TrainSettings
from components.train.student import completion_loss
from components.train.trainer import AdapterTrainer
from tests.components.lm.architectures import SUPPORTED, configuration
from tests.components.train.test_resume import Interrupt

# R1-Distill-Qwen-7B's block with a 32nd of its widths, and as many heads.
WIDTHS = (112, 592, 112, 16)
STEPS = [[(i, (i + k) % 4) for i in range(4)] for k in range(4)]


def small_r1(blocks: int, dtype: torch.dtype):
    from transformers import AutoConfig

    config = AutoConfig.for_model(
        "qwen2",
        vocab_size=96,
        hidden_size=WIDTHS[0],
        intermediate_size=WIDTHS[1],
        num_hidden_layers=blocks,
        num_attention_heads=28,
        num_key_value_heads=4,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    # A rank of 16 would be a 7th of these widths.
    lora = Lora(r=1, alpha=1, dropout=0.05)
    return add_lora(model, lora, layers=range(1, blocks + 1), base=BaseName("x"), seed=0).train()


def saved_bytes(adapted, tokens: int) -> int:
    """What autograd saves in a forward pass, weights left out."""
    own = {weight.untyped_storage().data_ptr() for weight in adapted.parameters()}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        backbone(adapted)(input_ids=torch.ones(1, tokens, dtype=torch.long), use_cache=False)
    return sum(size for size, _ in saved.values())


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_a_block_keeps_is_what_autograd_saves(dtype, checkpointed):
    """Of a block among others: the first one's input needs no gradient."""
    sizes, tokens = [], 64
    for blocks in (2, 3):
        adapted = small_r1(blocks, dtype)
        assert block_widths(adapted) == WIDTHS
        if checkpointed:
            checkpoint_blocks(adapted)
        sizes.append(saved_bytes(adapted, tokens))
    counted = (sizes[1] - sizes[0]) / tokens
    expected = kept_bytes(WIDTHS, dtype.itemsize, checkpointed=checkpointed)
    assert counted == pytest.approx(expected, rel=0.02)
    if dtype is torch.bfloat16:
        assert expected == (224 if checkpointed else 15072)


def test_activations_by_hand():
    """Of 3 blocks: all that each keeps, or the inputs of all and what one computes again."""
    widths = (4, 8, 4, 2)
    whole = 48 * 4 + 14 * 8 + 12 * 4 + 4 * 2
    given = {"tokens": 5, "blocks": 3}
    assert activation_bytes(widths, 2, **given, checkpointed=False) == 5 * 3 * whole
    assert activation_bytes(widths, 2, **given, checkpointed=True) == 5 * (3 * 8 + whole)
    assert asks_for_checkpoints(81, 100)
    assert not asks_for_checkpoints(80, 100)


@pytest.fixture(scope="module")
def groups(random_models, tmp_path_factory) -> dict[str, TargetRows]:
    """Four rows of each kind with the base model's states and likeliest tokens."""
    generator, found = torch.Generator().manual_seed(0), {}
    for name in ("harmful", "retained"):
        rows = []
        for i in range(4):
            words = torch.randint(10, 70, (6 + 2 * i,), generator=generator).tolist()
            rows.append(TrainingRow(f"{name}-{i}", tuple(words[:3]), tuple(words[3:])))
        counted = [len(row.completion) for row in rows]
        stored = store_targets(
            load_model(random_models.folder / "base"),
            rows,
            counted,
            layers=(1, 2, 3),
            likeliest=8,
            folder=tmp_path_factory.mktemp(name),
        )
        found[name] = TargetRows(rows, counted, stored)
    return found


def computed(groups: dict[str, TargetRows]) -> dict[str, TargetRows]:
    """The same with the retained targets computed in each step by the student itself."""
    return {**groups, "retained": replace(groups["retained"], stored=None)}


def pairs(make):
    def plan_and_loss(groups):
        method = make(TrainSettings(steps=4), (1, 2, 3), 3)
        return Plan(groups, STEPS, {}), method.loss

    return plan_and_loss


METHODS = {
    "states": pairs(SafeReAct),
    "states, computed": lambda groups: pairs(SafeReAct)(computed(groups)),
    "tokens": pairs(Distil),
    "cross-entropy": lambda groups: (
        Plan({"mixed": groups["retained"]}, [[(i,) for i, _ in step] for step in STEPS], {}),
        completion_loss,
    ),
}


def make_trainer(random_models, scratch, plan, loss, *, checkpointed):
    adapted = add_lora(
        load_model(random_models.folder / "post-trained"),
        Lora(r=4, alpha=4, dropout=0.3),
        layers=range(1, 4),
        base=BaseName("post-trained"),
        seed=0,
    )
    return AdapterTrainer(
        adapted,
        plan,
        loss,
        label="test",
        lr=1e-2,
        seed=3,
        scratch=scratch,
        micro_batch=2,
        checkpoint_activations=checkpointed,
        checkpoint_every=1,
    )


@pytest.mark.parametrize("which", METHODS)
def test_weights_and_losses_are_the_same_bit_for_bit(random_models, groups, tmp_path, which):
    """With dropout, and taken up after a kill without the checkpoints of before it."""
    plan, loss = METHODS[which](groups)
    kept = make_trainer(random_models, tmp_path / "kept", plan, loss, checkpointed=False)
    expected = kept.finish()
    again = make_trainer(random_models, tmp_path / "again", plan, loss, checkpointed=True)
    begun = make_trainer(random_models, tmp_path / "killed", plan, loss, checkpointed=True)
    begun.add_callback(Interrupt(2))
    with pytest.raises(KeyboardInterrupt):
        begun.finish()
    resumed = make_trainer(random_models, tmp_path / "killed", plan, loss, checkpointed=False)
    assert resumed.begun in (1, 2)
    wanted = trained_weights(kept.adapted)
    assert len({line[name] for line in expected.curves for name in expected.losses}) > 3
    for trainer in (again, resumed):
        assert trainer.finish() == expected
        weights = trained_weights(trainer.adapted)
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_memory_that_is_scarce_asks_for_checkpoints(
    random_models, groups, tmp_path, monkeypatch, caplog
):
    plan, loss = METHODS["states"](groups)
    # Two rows of each group, of at most 10 and 11 inputs, in fp32.
    assert widest_pass(plan, 2) == 2 * (11 + 11)
    widths = block_widths(load_model(random_models.folder / "post-trained"))
    needed = activation_bytes(widths, 4, tokens=44, blocks=3, checkpointed=False)
    for free, expected in ((needed, True), (2 * needed, False), (None, False)):
        monkeypatch.setattr("components.train.trainer.available_memory", lambda _, n=free: n)
        caplog.clear()
        with caplog.at_level("INFO", logger="components"):
            trainer = make_trainer(
                random_models, tmp_path / str(free), plan, loss, checkpointed=None
            )
        block = backbone(trainer.adapted).layers[0]
        assert block.gradient_checkpointing is expected
        assert ("computed again" in caplog.text) is expected


def test_a_block_is_computed_again_once_and_its_hooks_are_not(random_models):
    """Blocks before the first adapter need nothing of it."""
    adapted = add_lora(
        load_model(random_models.folder / "post-trained"),
        Lora(r=2, alpha=2),
        layers=(2, 3),
        base=BaseName("x"),
        seed=0,
    ).train()
    checkpoint_blocks(adapted)
    calls = {"hook": [0, 0, 0], "inside": [0, 0, 0]}
    for k, block in enumerate(backbone(adapted).layers):
        for name, module in (("hook", block), ("inside", block.self_attn)):
            module.register_forward_hook(
                lambda *_, name=name, k=k: calls[name].__setitem__(k, calls[name][k] + 1)
            )
    with captured_states(adapted, (1, 2, 3)) as states:
        adapted(input_ids=torch.tensor([[15, 16, 17]]), use_cache=False)
        sum(state.square().sum() for state in states.values()).backward()
    assert calls == {"hook": [1, 1, 1], "inside": [1, 2, 2]}


@pytest.mark.parametrize("kind", [min(kinds) for kinds in SUPPORTED.values()])
def test_blocks_of_every_wiring_have_the_same_gradients(kind):
    def gradients(checkpointed):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(configuration(kind))
        adapted = add_lora(
            model, Lora(r=2, alpha=2, dropout=0), layers=(1, 2),
            base=BaseName("x"), seed=0,
        ).train()  # fmt: skip
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.data.fill_(0.01)
        if checkpointed:
            checkpoint_blocks(adapted)
        with captured_states(adapted, (1, 2)) as states:
            adapted(input_ids=torch.tensor([[15, 16, 17, 18]]), use_cache=False)
            sum(state.square().mean() for state in states.values()).backward()
        return [w.grad for w in adapted.parameters() if w.grad is not None]

    plain, again = gradients(False), gradients(True)
    assert len(plain) == 2 * 2 * 7
    for first, second in zip(plain, again, strict=True):
        torch.testing.assert_close(first, second)


def test_checkpoints_of_the_launcher_are_refused(monkeypatch):
    monkeypatch.setenv("FSDP_ACTIVATION_CHECKPOINTING", "true")
    with pytest.raises(TrainingError, match="checkpoint_activations: true"):
        refuse_launcher_settings()
    monkeypatch.setenv("FSDP_ACTIVATION_CHECKPOINTING", "false")
    refuse_launcher_settings()
