"""The training methods, ours registered under their names; `METHODS.find` opens those of others."""

from components.train.methods.circuit_breaker import CircuitBreakers
from components.train.methods.distil import Combined, Distil, OnPolicy, SelfGenerated
from components.train.methods.method import (
    METHODS,
    Method,
    Trained,
    ask_models,
    open_method,
    train_adapter,
)
from components.train.methods.safereact import SafeReAct
from components.train.methods.sft import RankOneSft, Sft

__all__ = [
    "METHODS",
    "CircuitBreakers",
    "Combined",
    "Distil",
    "Method",
    "OnPolicy",
    "RankOneSft",
    "SafeReAct",
    "SelfGenerated",
    "Sft",
    "Trained",
    "ask_models",
    "open_method",
    "train_adapter",
]
