"""Where safety was lost: whether the post-trained model still perceives harm, and whether something
of the base brings its refusals back (components/probe/masking.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from components.core.vocabulary import Arm, Outcome, Prompt, Role
from components.judges.rules.outcomes import outcome
from components.judges.settings import RulesSettings
from components.lm.loading import free_memory, load_model, load_tokenizer
from components.probe.answers import Judge, Loaded, answer, rate
from components.probe.directions import last_token_states, refusal_axis
from components.probe.masking import Intervening, trace_base
from components.probe.result import KEPT, Masking
from components.probe.separability import draw_folds
from components.probe.settings import ProbeSettings
from components.probe.transfer import transfer_figures
from components.studies.diagnose.pair import Pair

_DEFAULTS = ProbeSettings()


@dataclass(frozen=True, slots=True)
class Locating:
    """How the two models are read; prompts are those of the diagnosis."""

    pair: Pair
    rows: Mapping[Role, Sequence[Prompt]]
    rules: RulesSettings
    seed: int
    batch: int = _DEFAULTS.batch
    tokens: int = _DEFAULTS.check_tokens
    prompts: int = 32  # of each role, on which the interventions are tried
    folds: int = _DEFAULTS.folds

    @property
    def judge(self) -> Judge:
        """The rules that say what an answer did."""
        return partial(outcome, **self.rules.model_dump())

    def refused(self) -> str | None:
        """Return why the states cannot be compared; None where they can."""
        if Arm.BASE not in self.pair.models:
            return "no base was given to compare states with"
        if not self.pair.same_lineage:
            return (
                "the two models differ in architecture, size or tokenizer, so their states share "
                "no axes"
            )
        fewest = min(len(self.rows.get(role, ())) for role in (Role.HARMFUL, Role.BENIGN))
        if fewest < self.folds:
            return f"it takes at least {self.folds} harmful and as many benign prompts"
        return None

    def masking(self, out: Path) -> Masking | None:
        """Return what the states tell; None where the base refuses none of the prompts.

        One model is in memory at a time; the states lie in `out` meanwhile. Where the post-trained
        model still refuses what the base does, nothing is put into it.
        """
        rows = {role: list(self.rows[role]) for role in (Role.HARMFUL, Role.BENIGN)}
        first = {role: own[: self.prompts] for role, own in rows.items()}
        folds = draw_folds(*rows.values(), folds=self.folds, seed=self.seed)
        with TemporaryDirectory(prefix=".states-", dir=out) as scratch:
            base = self._load(Arm.BASE)
            states = last_token_states(base, rows, folder=_folder(scratch, "base"))
            axis = refusal_axis(states)
            put = partial(answer, base, max_new_tokens=self.tokens)
            answers = {role: put(own, label=f"base, {role}") for role, own in first.items()}
            trace = trace_base(base, answers, self.judge, prompts=self.prompts)
            del base, put
            free_memory()
            if trace is None:
                return None
            tuned = self._load(Arm.POST_TRAINED)
            moved = last_token_states(tuned, rows, folder=_folder(scratch, "post-trained"))
            own = answer(
                tuned,
                trace.rows[Role.HARMFUL],
                max_new_tokens=self.tokens,
                label="post-trained, harmful",
            )
            did = [self.judge(one.judged) for one in own]
            alone = rate(did.count(Outcome.REFUSED), len(did))
            tried = Intervening(tuned, trace, axis, self.judge, self.tokens, self.seed)
            return Masking(
                asked=trace.asked,
                alone=alone,
                transfer=transfer_figures(states, moved, axis, folds, seed=self.seed),
                interventions=() if alone.rate >= KEPT else tried.every(),
            )

    def _load(self, arm: Arm) -> Loaded:
        """Return a model with the tokenizer of the post-trained one, so that the states of both
        stand at the same tokens."""
        folders = self.pair.folders
        model = load_model(folders[arm])
        return Loaded(model, load_tokenizer(folders[Arm.POST_TRAINED]), self.batch)


def _folder(scratch: str, name: str) -> Path:
    folder = Path(scratch) / name
    folder.mkdir()
    return folder
