"""Keys and values of a running batch, which rows leave and others join."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_SPARE = 64  # positions that are free after a layer was laid out anew


def join_rows(parts: Sequence[tuple[Cache, Tensor]], length: int) -> Cache:
    """Return a cache of the chosen rows of every part, one part below the other.

    All end at the same position; of each the last `length` positions are kept, and zeros stand
    before a shorter one. The parts are emptied layer by layer, so that no two copies are held.
    """
    joined: list[Any] = []
    for layers in zip(*(cache.layers for cache, _ in parts), strict=True):
        layer = RoomyLayer()
        layer.lazy_initialization(layers[0].keys, layers[0].values)
        layer.fill([(part, rows) for part, (_, rows) in zip(layers, parts, strict=True)], length)
        joined.append(layer)
        for part in layers:
            part.reset()
    return Cache(layers=joined)


class RoomyLayer(DynamicLayer):
    """One layer's keys and values, (batch, head, position, head_dim), with room for more.

    A step writes into the room; without it every step would copy all positions. A sliding window
    is left to the attention mask: no position is dropped.
    """

    keys: Any  # None where there are none
    values: Any
    rooms: tuple[Tensor, ...] = ()  # what keys and values are the first positions of

    def fill(self, parts: Sequence[tuple[Any, Tensor | slice]], length: int, new: int = 0) -> None:
        """Take the chosen rows of other layers, ends aligned at `length`, with room for `new`."""
        self.rooms = tuple(
            _laid_out([getattr(part, states)[rows] for part, rows in parts], length, new + _SPARE)
            for states in ("keys", "values")
        )
        self._show(length)

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *_: object,  # the base has more, which this layer does not need
        **__: object,
    ) -> tuple[Tensor, Tensor]:
        """Return all keys and values, those of the new positions last."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.rooms = (key_states[:, :, :0], value_states[:, :, :0])
            self._show(0)
        length, new = self.keys.shape[-2], key_states.shape[-2]
        if length + new > self.rooms[0].shape[-2]:
            self.fill([(self, slice(None))], length, new)
        for room, states in zip(self.rooms, (key_states, value_states), strict=True):
            room[:, :, length : length + new] = states
        self._show(length + new)
        return self.keys, self.values

    def reset(self) -> None:
        """Let go of everything."""
        super().reset()
        self.rooms = ()

    def _show(self, length: int) -> None:
        self.keys, self.values = (room[:, :, :length] for room in self.rooms)


def _laid_out(parts: Sequence[Tensor], length: int, spare: int) -> Tensor:
    """Return the parts one below the other, ends aligned at `length`, `spare` positions behind.

    What no row fills is zero: a masked value that is not a number would still spoil the sum.
    """
    heads, width = parts[0].shape[1], parts[0].shape[3]
    room = parts[0].new_zeros(sum(map(len, parts)), heads, length + spare, width)
    for states, rows in zip(parts, room.split([len(states) for states in parts]), strict=True):
        kept = min(length, states.shape[2])
        rows[:, :, length - kept : length] = states[:, :, states.shape[2] - kept :]
    return room
