"""Which decoder layers the student aligns with its teacher."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from components.core.errors import ConfigError

log = logging.getLogger(__name__)

NO_SEPARATION = 0.6  # below this AUC a layer does not tell harmful from benign


def check_layers(wanted: Sequence[int], *, layers: int) -> tuple[int, ...]:
    """Return the wanted layers, ascending; raises `ConfigError` for one the model does not have."""
    beyond = sorted(layer for layer in wanted if not 1 <= layer <= layers)
    if beyond or not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(
            f"probe.target_layers is {list(wanted)}; give distinct layers from 1 to {layers}, or "
            "`auto`"
        )
    return tuple(sorted(wanted))


def spread(layers: int, count: int) -> tuple[int, ...]:
    """Return at most `count` layers of 1 ... `layers`, evenly over depth, the last among them.

    The k-th is k * layers / count, rounded half up: 5, 10, 15, 20, 25, 30 of 30. The authors take
    5, 10, 15, 20, 25, 27 of 28.
    """
    count = min(count, layers)
    return tuple((2 * k * layers + count) // (2 * count) for k in range(1, count + 1))


def choose_targets(aucs: Sequence[float], *, count: int) -> tuple[int, ...]:
    """Return the spread layers that tell harmful from benign, and the last one in any case.

    `aucs` are the linear probes' by layer in the model that still has its safety. A layer without
    separation has nothing to teach; the last one is what the model answers from.
    """
    taken = spread(len(aucs), count)
    kept = tuple(k for k in taken if k == len(aucs) or aucs[k - 1] >= NO_SEPARATION)
    log.info("target layers %s of %d; %d dropped", kept, len(aucs), len(taken) - len(kept))
    return kept
