"""Verdicts on disk, so that a killed evaluation asks no judge again for what it has ruled on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.core.journal import Journal
from components.core.storage import digest_bytes
from components.core.vocabulary import Outcome, Role
from components.judges.protocol import Case, Judge, Ruling
from components.judges.result import Usage

log = logging.getLogger(__name__)


class KeptVerdicts(Journal):
    """Every ruling so far by the digest of its judge, the judge's place and the case, and what paid
    judges were asked for to get them. No text of a case is in the file."""

    def __init__(self, path: Path) -> None:
        self._rulings: dict[str, Ruling] = {}
        self._usage: dict[str, Usage] = {}
        super().__init__(path)
        if self._rulings:
            log.info("going on after %d verdicts", len(self._rulings))

    def take(self, line: dict[str, Any]) -> None:
        """Take in a ruling, or a judge's usage, of which the last one counts."""
        if "judge" in line:
            self._usage[line["judge"]] = Usage.model_validate(line["usage"])
        else:
            ruling = Ruling(Outcome(line["outcome"]), line["said"], line["cut"])
            self._rulings[line["case"]] = ruling

    def get(self, key: str) -> Ruling | None:
        """Return the ruling of this key; None: there is none yet."""
        return self._rulings.get(key)

    def usage(self, judge: str) -> Usage | None:
        """Return what the judge that the profile calls so was asked for in all; None: nothing."""
        return self._usage.get(judge)

    def add(self, rulings: Mapping[str, Ruling], judge: str, usage: Usage | None) -> None:
        """Put rulings, and what their judge was asked for by now, on the disk before returning.

        Raises `InterruptionError` where there is no room, and then leaves the file as it was.
        """
        lines: list[dict[str, Any]] = [
            {"case": key, "outcome": ruling.outcome, "said": ruling.said, "cut": ruling.cut}
            for key, ruling in rulings.items()
        ]
        if usage is not None and usage != self._usage.get(judge):
            lines.append({"judge": judge, "usage": usage.model_dump()})
        if lines:
            self.append(lines)
            self._rulings.update(rulings)
        if usage is not None:
            self._usage[judge] = usage


@dataclass(frozen=True, slots=True)
class Remembered:
    """A judge that asks another one only for what no earlier process has a ruling on."""

    inner: Judge
    label: str  # how the profile calls it
    verdicts: KeptVerdicts

    @property
    def name(self) -> str:
        """The name of the judge that rules."""
        return self.inner.name

    @property
    def place(self) -> str:
        """The place of the judge that rules."""
        return self.inner.place

    @property
    def roles(self) -> frozenset[Role]:
        """The roles of the judge that rules."""
        return self.inner.roles

    @property
    def usage(self) -> Usage | None:
        """What the judge that rules was asked for, by killed processes, too."""
        return self.inner.usage

    def check(self) -> None:
        """Raise what would keep the judge from ruling."""
        self.inner.check()

    def close(self) -> None:
        """Give back the memory that the judge takes."""
        self.inner.close()

    def ask(self, cases: Sequence[Case]) -> Iterator[dict[Case, Ruling]]:
        """Yield the rulings on distinct cases, those known already first, and note the others."""
        judge = [self.name, self.place]
        keys = {case: digest_bytes(json.dumps([*judge, asdict(case)]).encode()) for case in cases}
        known = {case: ruling for case, key in keys.items() if (ruling := self.verdicts.get(key))}
        if known:
            yield known
        rest = [case for case in cases if case not in known]
        if not rest:
            return
        try:
            for group in self.inner.ask(rest):
                noted = {keys[case]: ruling for case, ruling in group.items()}
                self.verdicts.add(noted, self.label, self.inner.usage)
                yield group
        finally:  # requests that failed were asked, too
            self.verdicts.add({}, self.label, self.inner.usage)
