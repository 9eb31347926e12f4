"""Verdicts on disk, so that a killed evaluation asks no judge twice."""

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
from components.judges.protocol import Case, Judge, Verdict
from components.judges.result import Usage

log = logging.getLogger(__name__)


class StoredVerdicts(Journal):
    """Every verdict so far by the digest of its judge, the judge's place and the case; what paid
    judges were asked for. No text of a case is in the file."""

    def __init__(self, path: Path) -> None:
        self._verdicts: dict[str, Verdict] = {}
        self._usage: dict[str, Usage] = {}
        super().__init__(path)
        if self._verdicts:
            log.info("going on after %d verdicts", len(self._verdicts))

    def take(self, line: dict[str, Any]) -> None:
        """Take in a verdict, or a judge's usage, of which the last one counts."""
        if "judge" in line:
            self._usage[line["judge"]] = Usage.model_validate(line["usage"])
        else:
            verdict = Verdict(Outcome(line["outcome"]), line["reason"], line["cut"])
            self._verdicts[line["case"]] = verdict

    def get(self, key: str) -> Verdict | None:
        """Return the verdict of this key; None: there is none yet."""
        return self._verdicts.get(key)

    def usage(self, judge: str) -> Usage | None:
        """Return what the judge that the profile calls so was asked for in all; None: nothing."""
        return self._usage.get(judge)

    def add(self, verdicts: Mapping[str, Verdict], judge: str, usage: Usage | None) -> None:
        """Put verdicts, and what their judge was asked for by now, on the disk before returning.

        Raises `InterruptionError` where there is no room, and then leaves the file as it was.
        """
        lines: list[dict[str, Any]] = [
            {"case": key, "outcome": verdict.outcome, "reason": verdict.reason, "cut": verdict.cut}
            for key, verdict in verdicts.items()
        ]
        if usage is not None and usage != self._usage.get(judge):
            lines.append({"judge": judge, "usage": usage.model_dump()})
        if lines:
            self.append(lines)
            self._verdicts.update(verdicts)
        if usage is not None:
            self._usage[judge] = usage


@dataclass(frozen=True, slots=True)
class CachedJudge(Judge):
    """A judge that asks another one only for what no earlier process has a verdict on."""

    inner: Judge
    label: str  # how the profile calls it
    verdicts: StoredVerdicts

    @property
    def name(self) -> str:
        """Those of the judge that judges, as place, roles and usage are."""
        return self.inner.name

    @property
    def place(self) -> str:
        return self.inner.place

    @property
    def roles(self) -> frozenset[Role]:
        return self.inner.roles

    @property
    def usage(self) -> Usage | None:
        return self.inner.usage

    def check(self) -> None:
        self.inner.check()

    def close(self) -> None:
        self.inner.close()

    def judge(self, cases: Sequence[Case]) -> Iterator[dict[Case, Verdict]]:
        """Yield the verdicts on distinct cases, those known already first, and note the others."""
        judge = [self.name, self.place]
        keys = {case: digest_bytes(json.dumps([*judge, asdict(case)]).encode()) for case in cases}
        known = {case: verdict for case, key in keys.items() if (verdict := self.verdicts.get(key))}
        if known:
            yield known
        rest = [case for case in cases if case not in known]
        if not rest:
            return
        try:
            for group in self.inner.judge(rest):
                noted = {keys[case]: verdict for case, verdict in group.items()}
                self.verdicts.add(noted, self.label, self.inner.usage)
                yield group
        finally:  # requests that failed were asked, too
            self.verdicts.add({}, self.label, self.inner.usage)
