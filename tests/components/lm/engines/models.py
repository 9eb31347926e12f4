"""Random models of several architectures, small enough to write thousands of tokens."""

from __future__ import annotations

from functools import cache

from components.lm.engines.protocol import Request

VOCABULARY = 61
ENDS = frozenset({3, 7, 11})
ARCHITECTURES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text")
# Windows shorter than the prompts, and layers of both kinds.
_OWN = {
    "mistral": {"sliding_window": 6},
    "gemma2": {"sliding_window": 6, "query_pre_attn_scalar": 8, "tie_word_embeddings": False},
    "gemma3_text": {
        "sliding_window": 6,
        "query_pre_attn_scalar": 8,
        "tie_word_embeddings": False,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}


@cache
def random_model(architecture: str = "llama"):
    """Return a model whose large weights make it write varied tokens."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        architecture,
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=sorted(ENDS),
        **_OWN.get(architecture, {}),
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def prompts(count: int, *, longest: int = 24, seed: int = 0) -> list[tuple[int, ...]]:
    """Return prompts of 1 to `longest` random tokens."""
    import random

    source = random.Random(seed)
    return [
        tuple(source.randrange(12, VOCABULARY) for _ in range(source.randint(1, longest)))
        for _ in range(count)
    ]


def requests(count: int, *, limit: int = 20, seed: int = 0, **settings) -> list[Request]:
    """Return a request for each of `prompts`."""
    return [Request(prompt, limit, **settings) for prompt in prompts(count, seed=seed)]


class Noting:
    """A host that notes every request it has finished, before it hands it on.

    `log` gets a line a request. Where `mark` is named, the first worker to finish a third group
    makes that file and kills itself with the group in its hands.
    """

    def __init__(self, folder, log, *, mark=None, pause=0.0):
        from components.lm.engines.hosts import InMemory

        self.inner, self.log, self.mark, self.pause = InMemory(folder, batch=2), log, mark, pause

    def engine(self, arm, adapter):
        return NotingEngine(self, self.inner.engine(arm, adapter))

    def die(self):
        """Kill this process, once; what it handed on before has the time to arrive."""
        import os
        import signal
        import time

        try:
            self.mark.touch(exist_ok=False)
        except FileExistsError:
            return
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)


class NotingEngine:
    def __init__(self, host, engine):
        self.host, self.inner, self.name, self.ends = host, engine, engine.name, engine.ends

    def write(self, asked):
        import time

        for number, group in enumerate(self.inner.write(asked), start=1):
            with self.host.log.open("a") as stream:
                stream.writelines(f"{asked[i].key}\n" for i in group)
            if number == 3 and self.host.mark:
                self.host.die()
            yield group
            time.sleep(self.host.pause)
