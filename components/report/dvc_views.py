"""What `dvc metrics`, `dvc exp show` and `dvc plots` show of a decision."""

from __future__ import annotations

from typing import Any

from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.train.result import Adapter

_SHOWN = (Arm.BASE, Arm.POST_TRAINED, Arm.RESTORED)


def metrics(decision: Decision, evidence: Evidence, adapter: Adapter) -> dict[str, Any]:
    """Return the decision, the last losses, and the restored model's rates, from 0 to 1, that the
    policy's rules are about."""
    restored = evidence.rates.get(Arm.RESTORED, {})
    return {
        "gate": str(decision.outcome),
        "loss": {name: last for name, (_, last) in adapter.losses.items()},
        str(Arm.RESTORED): {m: restored[m].rate for m in _named(decision) if m in restored},
    }


def rates(decision: Decision, evidence: Evidence) -> list[dict[str, Any]]:
    """Return the rates of all models that the rules are about, in per cent, as a plot's bars.

    `low` and `high` are the ends of the interval, which spans what the token limit left open, too.
    """
    return [
        {"figure": metric, "model": str(arm)}
        | {name: round(100 * getattr(rate, name), 2) for name in ("rate", "low", "high")}
        for metric in _named(decision)
        for arm in _SHOWN
        if (rate := evidence.rates.get(arm, {}).get(metric))
    ]


def _named(decision: Decision) -> list[str]:
    """Return the metrics of the rules about figures, each once."""
    return list(dict.fromkeys(r.metric for r in decision.rules if r.threshold is not None))
