"""What a process that computes sees. It must be settled before torch is imported."""

from __future__ import annotations

import os
import warnings

# No telemetry, and no more threads than are asked for.
QUIET = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",  # of DO_NOT_TRACK it knows no value but 1
}
# One thread keeps the order of sums, so a stage gives the same bytes again, and beats two on small
# models; threads that wait by sleeping cost nothing, while on a busy machine spinning ones take up
# to 30 times as long. (On one that is idle they are quicker: several threads with
# OMP_WAIT_POLICY=ACTIVE write completions in two thirds of the time.)
_DEFAULTS = {
    **QUIET,
    "OMP_NUM_THREADS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # What a command prints is for programs, too; vLLM speaks there unless it is told otherwise.
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "TRANSFORMERS_VERBOSITY": "error",
}


def settle_environment() -> None:
    """Set the defaults of a process that computes; what the environment says already stays."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # PEFT 0.21 asks transformers 5 for a name that goes away with transformers 6.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    # transformers 5.24 renames the argument to one that 5.23 does not know.
    warnings.filterwarnings("ignore", "`past_key_values` is deprecated", FutureWarning)
