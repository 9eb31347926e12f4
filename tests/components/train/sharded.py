"""One of two processes whose student is sharded by FSDP2; fails where it is unlike a whole one.

`torchrun --nproc-per-node 2 -m tests.components.train.sharded CHECKPOINT SCRATCH`
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from components.lm.loading import load_model
from components.lm.states import backbone, hidden_states
from components.train.activations import checkpoint_blocks
from components.train.adapters import BaseName, add_lora
from components.train.checkpoints import Checkpoints
from components.train.settings import Lora

IDS = torch.tensor([[15, 16, 17, 18, 19], [20, 21, 22, 23, 24]])


def make(checkpoint: Path):
    lora = Lora(r=4, alpha=4, dropout=0)
    adapted = add_lora(load_model(checkpoint), lora, layers=(1, 2, 3), base=BaseName("x"), seed=0)
    generator = torch.Generator().manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1, generator=generator)
    return adapted


def shard(model):
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in backbone(model).layers:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def optimiser(model):
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0)


def backward(model):
    """Two forward passes and one backward, as in a step of SafeReAct."""
    states = [*hidden_states(model, IDS, [1, 2]), *hidden_states(model, IDS + 9, [1, 2, 3])]
    torch.stack([state.square().mean() for state in states]).sum().backward()


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def same(first, second, what=lambda weight: weight) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(
        torch.allclose(whole(what(a)), whole(what(b)), rtol=1e-4, atol=1e-6)
        for a, b in pairs
        if a.requires_grad
    )


def main(checkpoint: Path, scratch: Path) -> None:
    state = PartialState(cpu=True)
    plain, sharded, again = make(checkpoint), shard(make(checkpoint)), shard(make(checkpoint))
    checkpoint_blocks(again)
    for model in (plain, sharded, again):
        backward(model.train())
    assert same(plain, sharded, lambda weight: weight.grad), "gradients differ"
    assert same(plain, again, lambda weight: weight.grad), "gradients differ with checkpoints"

    optimizer = optimiser(sharded)
    optimizer.step()
    written = Checkpoints(scratch, every=1, steps=9)
    written.progress.curves.append({"step": 0})
    written.write_if_due(sharded, optimizer, first=state.is_main_process)
    dist.barrier()

    read, resumed = Checkpoints(scratch, every=1, steps=9), make(checkpoint)
    assert read.resume(resumed).taken == 1
    resumed = shard(resumed)
    again = optimiser(resumed)
    read.restore_optimizer(resumed, again)
    read.restore_random(resumed, 2, state.process_index)
    for model, steps in ((sharded, optimizer), (resumed, again)):
        model.zero_grad()
        backward(model)
        steps.step()
    pairs = zip(sharded.parameters(), resumed.parameters(), strict=True)
    assert all(torch.equal(whole(a), whole(b)) for a, b in pairs), "resumed differs"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    dist.barrier()  # a process that leaves early may cut off what another still receives
    dist.destroy_process_group()
