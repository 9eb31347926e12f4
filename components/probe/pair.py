"""A model of the pair in memory, and the plan by which it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.core.errors import TeacherError
from components.core.vocabulary import Outcome, Prompt, Role
from components.judges.rules.outcomes import outcome
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.lm.masks import pruned
from components.lm.references import ModelRef, Vector
from components.lm.teachers import Means, find_teacher
from components.lm.vectors import applied, moved, vector_of
from components.models.result import Models
from components.probe.answers import (
    Answer,
    Answers,
    Judge,
    Loaded,
    Refused,
    answer,
    measure,
    outcomes,
    written_refusals,
)
from components.probe.contexts import our_contexts, rank_contexts
from components.probe.directions import Axis, States, last_token_states
from components.probe.positions import PositionFigure, Which, project_positions
from components.probe.result import ContextFigures, TeacherFigures, VectorFigures, made_of
from components.probe.sampling import CHECKED, Rows, Samples
from components.probe.separability import Folds
from components.probe.set_difference import SetDifference
from components.probe.settings import ProbeSettings
from components.probe.teachers import NO_ANCESTOR, figures, ranking


@dataclass(frozen=True, slots=True)
class Plan:
    """A pair, its prompts and candidate teachers, and the settings."""

    settings: ProbeSettings
    models: Models
    samples: Samples
    teachers: tuple[str, ...]
    folds: Folds
    seed: int
    scratch: Path  # an empty folder for states

    @property
    def judge(self) -> Judge:
        """The rules that say what an answer did."""
        return partial(outcome, **self.settings.rules.model_dump())

    def means(
        self,
        contexts: Sequence[ContextFigures] = (),
        scales: Sequence[VectorFigures] = (),
    ) -> Means:
        """Return what teachers are made of, with the best of the `contexts` and `scales`."""
        vector = self.vector(scales[0].scale) if scales else None
        return made_of(self.settings.reminder, contexts, vector)

    def vector(self, scale: float) -> Vector:
        """Return the pair's vector; raises `TeacherError` where it has no ancestor."""
        if self.models.vector is None:
            raise TeacherError(NO_ANCESTOR)
        return vector_of(self.models, self.models.vector, scale)


@dataclass(frozen=True, slots=True)
class PairModel(Loaded):
    """One model of the pair with the plan."""

    plan: Plan

    @classmethod
    def load(cls, plan: Plan, ref: ModelRef) -> PairModel:
        """Return a checkpoint of the pair with the tokenizer through which it reads prompts.

        Models of one lineage both read what the post-trained one is served: so the base would
        teach, and only so do the states of both stand at the same tokens.
        """
        models = plan.models
        reads = models.post_trained if models.same_lineage else ref
        model = load_model(checkpoint_folder(models, ref))
        tokenizer = load_tokenizer(checkpoint_folder(models, reads))
        return cls(model, tokenizer, plan.settings.batch, plan)

    def states(self, name: str) -> States:
        """Return the states at the last prompt token, in files of the scratch folder `name`."""
        folder = self.plan.scratch / name
        folder.mkdir()
        return last_token_states(self, self.plan.samples.probed, folder=folder)

    def positions(self, which: Which, answers: Answers, axis: Axis) -> list[PositionFigure]:
        """Return the projections on the prompts that both models answered, so that they compare."""
        return project_positions(which, self, self.swept(answers), axis)

    def swept(self, answers: Answers) -> Answers:
        """Return the answers to the prompts that both models answered."""
        swept = {role: {row.id for row in rows} for role, rows in self.plan.samples.swept.items()}
        return {r: [a for a in own if a.row.id in swept[r]] for r, own in answers.items()}

    def calibrate(self, role: Role, label: str) -> list[Answer]:
        """Return the answers to the calibration prompts of a role."""
        rows, tokens = self.plan.samples.calibrated[role], self.plan.settings.pruning.tokens
        return answer(self, rows, max_new_tokens=tokens, label=label)

    def reminded_refusals(self, refused: Refused) -> list[list[int] | None]:
        """Return the model's own refusals, thought included, of the calibration prompts that have
        none in `refused`: asked with the reminder, and None where it does not refuse then."""
        plan, harmful = self.plan, self.plan.samples.calibrated[Role.HARMFUL]
        rows = [row for row, known in zip(harmful, refused, strict=True) if known is None]
        asked = answer(
            self,
            rows,
            max_new_tokens=plan.settings.pruning.tokens,
            label="calibration refusals, reminded",
            preamble=plan.settings.reminder,
        )
        written = zip(rows, written_refusals(asked, plan.judge), strict=True)
        own = {row.id: ids for row, ids in written}
        return [own.get(row.id) for row in harmful]

    def answers(self, rows: Rows, label: str, *, preamble: str | None = None) -> Answers:
        """Return the answers to the rows of a check, by role."""
        put = partial(answer, max_new_tokens=self.plan.settings.check_tokens, preamble=preamble)
        return {role: put(self, rows[role], label=f"{label}, {role}") for role in CHECKED}

    def outcomes(self, name: str, label: str) -> dict[Role, list[Outcome]]:
        """Return what the model, as it is now, does under the reminder of the teacher `name`."""
        preamble = find_teacher(name).preamble(self.plan.means())
        answers = self.answers(self.plan.samples.swept, label, preamble=preamble)
        return outcomes(answers, self.plan.judge)

    def contexts(self) -> tuple[ContextFigures, ...]:
        """Return the contexts, the best first, where a candidate needs one."""
        settings = self.plan.settings
        if not any(find_teacher(name).in_context for name in self.plan.teachers):
            return ()

        def ask(rows: Sequence[Prompt], context: str | None, label: str) -> list[Outcome]:
            tokens, judge = settings.check_tokens, self.plan.judge
            done = answer(self, rows, max_new_tokens=tokens, label=label, preamble=context)
            return [judge(one.judged) for one in done]

        pool, first = settings.contexts.pool or our_contexts(), settings.contexts.prompts
        return rank_contexts(ask, pool, self.plan.samples.contexts, first=first)

    def scales(self) -> tuple[VectorFigures, ...]:
        """Return what the model does with the vector at every scale, the best teacher first, where
        a candidate adds it."""
        if not any(find_teacher(name).adds_vector for name in self.plan.teachers):
            return ()
        found = []
        for scale in self.plan.settings.vector_scales:
            with moved(self.model, self.plan.vector(scale)):
                did = self.outcomes("vector", f"with {scale:g} of the vector")
            checked = figures("vector", did, check=self.plan.settings.check)
            found.append((ranking(checked), VectorFigures(scale=scale, **measure(did))))
        found.sort(key=lambda pair: pair[0], reverse=True)  # stable: of equals the first
        return tuple(own for _, own in found)

    def check(self, name: str, best: Mapping[str, SetDifference], means: Means) -> TeacherFigures:
        """Return what the model does as the teacher `name`, on all prompts of the check."""
        teacher, rows = find_teacher(name), self.plan.samples.checked
        removal = pruned(self.model, best[teacher.masks].masks) if teacher.masks else nullcontext()
        preamble = teacher.preamble(means)
        with removal, applied(teacher, self.model, means):
            answers = self.answers(rows, f"checking teacher {name}", preamble=preamble)
        return self.figures(name, answers)

    def figures(self, name: str, answers: Answers) -> TeacherFigures:
        """Return the figures of a teacher that gave these answers."""
        did = outcomes(answers, self.plan.judge)
        return figures(name, did, check=self.plan.settings.check)
