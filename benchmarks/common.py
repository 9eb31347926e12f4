"""What the benchmarks share: a Llama of random weights, and how figures are put down.

Random weights serve: the arithmetic is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; the defaults are SmolLM2-135M's."""

    seed: int = 0
    hidden: int = 576
    layers: int = 30
    heads: int = 9
    kv_heads: int = 3
    feed_forward: int = 1536
    vocabulary: int = 49152


Case = TypeVar("Case", bound=Shape)


def random_llama(shape: Shape, seed: int, *, tied: bool) -> PreTrainedModel:
    """Return a random Llama in single precision; `tied`: its LM head is its embedding."""
    config = AutoConfig.for_model(
        "llama",
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.feed_forward,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()


def read_arguments(
    about: str | None, kind: type[Case], out: str, **options: str
) -> tuple[Case, Path]:
    """Return the case of the command line and where its figures go; `options` are described."""
    parser = argparse.ArgumentParser(description=about)
    for field, text in {**options, "seed": "of data and weights"}.items():
        parser.add_argument(f"--{field}", type=int, default=getattr(kind(), field), help=text)
    parser.add_argument("--out", type=Path, default=Path("benchmarks") / out)
    given = vars(parser.parse_args())
    path = given.pop("out")
    return kind(**given), path


def write_figures(path: Path, module: str, case: Shape, **figures: Any) -> dict[str, Any]:
    """Write the figures, with what they were measured on, and return them so."""
    document = {
        "case": asdict(case),
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}",
        **figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document
