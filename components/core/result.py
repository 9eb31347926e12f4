"""What is on record: groups of figures, a stage's result, a rate, and how two records differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from components.core.errors import EvidenceError, StageError
from components.core.storage import digest_file, missing, read_json, write_json

# Processors differ in the last bits of a sum of floating-point numbers, and nobody reads those.
_ROUNDING = 1e-12
_ABSENT = object()


class Record(BaseModel):
    """A frozen group of figures. NaN and infinity are none, and are neither written nor read."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )


class Result(Record):
    """A stage's result: a JSON file `FILE` in its folder, without timestamps and absolute paths."""

    FILE: ClassVar[str]
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """The folder this result was saved in or loaded from."""
        if self._folder is None:
            raise StageError(f"this {type(self).__name__} was never saved")
        return self._folder

    def save(self, folder: Path) -> Self:
        """Write the result into `folder` and return it, bound to that folder."""
        write_json(folder / self.FILE, self.model_dump(mode="json"))
        self._folder = folder
        return self

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the result in `folder`; raises `StageError` naming what is wrong with the file."""
        path = folder / cls.FILE
        try:
            result = cls.model_validate(read_json(path))
        except ValidationError as error:
            raise StageError(f"{path} is not a {cls.__name__}: {error}") from error
        result._folder = folder
        return result

    @classmethod
    def digest_of(cls, folder: Path) -> str:
        """Return the SHA-256 of the result's file in `folder`."""
        path = folder / cls.FILE
        if not path.is_file():
            raise missing(path)
        return digest_file(path)


class RateFigure(Record):
    """A share of n prompts with its interval (Wilson score).

    Where completions were cut off before they could count or not, it is the lowest that it may be,
    and `low` and `high` are the lower end of the lowest and the upper end of the highest.
    """

    rate: float
    low: float
    high: float
    count: int
    n: int
    samples: int | None = None  # completions, where prompts have several; `count` is of these
    clusters: int | None = None  # what counts as independent, where there are near-copies
    highest: RateFigure | None = None  # it with all that may count; None: nothing is left open

    @property
    def open(self) -> int:
        """How many completions may count or not."""
        return self.highest.count - self.count if self.highest else 0

    @property
    def most(self) -> float:
        """The highest that the rate may be."""
        return self.highest.rate if self.highest else self.rate

    @property
    def share(self) -> str:
        """The rate in per cent: `97.3 %`, or `61.0 to 93.0 %` where some may count or not."""
        upto = f" to {100 * self.most:.1f}" if self.highest else ""
        return f"{100 * self.rate:.1f}{upto} %"

    @property
    def size(self) -> str:
        """The number of prompts, and what counts as independent or was written where it differs."""
        return in_words(self.n, self.clusters, self.samples)

    @classmethod
    def of(cls, count: int, n: int, confidence: float) -> Self:
        """Return `count / n` with its interval, which holds the rate whatever is rounded.

        Zero samples raise `EvidenceError`.
        """
        if n < 1:
            raise EvidenceError("a rate of zero prompts has no interval")
        rate = count / n
        low, high = wilson_interval(rate, n, confidence)
        return cls(rate=rate, low=min(low, rate), high=max(high, rate), count=count, n=n)


def in_words(n: int, clusters: int | None, samples: int | None = None) -> str:
    """Return a number of prompts, and where near-copies count as one how many that makes, and where
    prompts have several completions how many there are."""
    more = {"independent": clusters, "completions": samples}
    known = ", ".join(f"{count} {what}" for what, count in more.items() if count is not None)
    return f"{n} ({known})" if known else f"{n}"


def wilson_interval(rate: float, n: float, confidence: float) -> tuple[float, float]:
    """Return both ends of the interval of a `rate` of `n`, which need not be whole.

    The rates that the score test keeps (Wilson 1927, JASA 22:209-212).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = rate + z**2 / (2 * n)
    reach = z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * reach) / (1 + z**2 / n) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def mismatches(stated: Any, found: Any, name: str = "") -> Iterator[str]:
    """Yield in words every place where what is `stated` is not what was `found`.

    Both are made of records, mappings, sequences and single values; `name` is what the whole is
    called. A place that only one of them has is a mismatch. Numbers are the same where they differ
    by rounding alone.
    """
    stated, found = _plain(stated), _plain(found)
    if isinstance(stated, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*stated, *found]):
            place = f"{name} {key}".strip()
            yield from mismatches(stated.get(key, _ABSENT), found.get(key, _ABSENT), place)
    elif not _same(stated, found):
        yield f"{name} is stated as {_written(stated)}, and it is {_written(found)}"


def _plain(value: Any) -> Any:
    """Return a container as a dictionary with texts or places as keys, a member as its value."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): one for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return dict(enumerate(value, 1))
    return value.value if isinstance(value, Enum) else value


def _same(stated: Any, found: Any) -> bool:
    if isinstance(stated, float) and isinstance(found, float):
        return math.isclose(stated, found, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return bool(stated == found) and isinstance(stated, bool) is isinstance(found, bool)


def _written(value: Any) -> str:
    return "nothing" if value is _ABSENT else f"{value!r:.200}"
