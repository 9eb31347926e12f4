"""What the adapters of one pair are trained on: asked once, kept on disk, shared by all methods."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from components.core.errors import TrainingError
from components.core.storage import read_json, write_json
from components.core.vocabulary import Role, Split
from components.lm.adapters import attach_adapter
from components.lm.attacks import plain_form, render_form
from components.lm.loading import checkpoint_folder, load_tokenizer
from components.train.batches import TargetRows, store_targets
from components.train.early_stop import EarlyStop
from components.train.processes import made_once, refuse_launcher_settings
from components.train.rows import (
    RETAINED,
    Reading,
    Refusals,
    TrainingRow,
    cut_rows,
    keep_compliant,
    keep_refusals,
    own_completions,
    read_prompts,
    refuses,
    sample_prompts,
)
from components.train.settings import TrainSettings
from components.train.teacher import Reader, open_reader, open_teacher, refusals_waived

if TYPE_CHECKING:
    from components.core.vocabulary import Prompt
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe

log = logging.getLogger(__name__)

# Larger references are computed in each step: a disk is then no quicker than the model.
MAX_REFERENCE_BYTES = 2 << 30
_COUNTS = "counts.json"


@dataclass(frozen=True, slots=True)
class TeacherData:
    """What the teacher gives: rows with its states, and its refusals in tokens."""

    rows: TargetRows
    refusals: Sequence[TrainingRow]  # as the student reads them
    refused: int  # prompts that it refused, over all forms
    prompts: int  # prompts that it was asked, over all forms
    by_form: Sequence[int]  # rows of each form; they come form after form


@dataclass(frozen=True)
class TrainingData:
    """One pair, its prompts and the settings of `train`, with the teacher that `probe` names.

    All prompts are drawn first. `TrainingError` is raised before any model is asked where a split
    lacks what training needs of it, a target is no layer, or a launcher is set to what our
    checkpoints do not go with. What is asked of a model lies in `scratch` afterwards, where a
    resumed stage, the other methods and the other processes find it.
    """

    settings: TrainSettings
    prompts: PromptSet
    models: Models
    probe: Probe
    seed: int
    scratch: Path

    def __post_init__(self) -> None:
        refuse_launcher_settings()
        targets, layers = self.probe.target_layers, self.models.post_trained.layers
        if not targets or any(not 1 <= layer <= layers for layer in targets):
            raise TrainingError(
                f"target layers {list(targets)} are not layers of the post-trained model, which "
                f"has 1 to {layers}; set probe.target_layers"
            )
        _ = self._training_prompts, self._validation_prompts

    def teacher_data(self) -> TeacherData:
        """Return the harmful rows as the student reads them, with the teacher's states there.

        The positions that count are the last `prompt_tokens` of the prompt, as far as both read the
        same there, and those of the teacher's own greedy refusal, at most `refusal_tokens` of it;
        deviation from the paper, which takes the whole prompt and no refusal.
        """
        folder = made_once(self.scratch / f"teacher-{self.teacher_name}", self._ask_teacher)
        refusals = TargetRows.load(folder)
        rows = cut_rows(refusals.rows, self.settings.refusal_tokens)
        targets = replace(refusals, rows=rows)
        return TeacherData(targets, refusals.rows, **read_json(folder / _COUNTS))

    def retained_rows(self, depth: int | None) -> TargetRows:
        """Return the post-trained model's own answers, to be held: by its states at layers 1 to
        `depth` and its likeliest next tokens; 0: by the tokens alone; None: by neither.

        All positions count. The answers are asked for once, whatever is held. States are stored
        where they take at most `MAX_REFERENCE_BYTES`.
        """
        prompts, tokens = self._training_prompts[1], self.settings.retain_tokens
        if depth is None:
            return self._own_answers("retained", prompts, tokens)
        return self._ask_student("retained", prompts, tokens, range(1, depth + 1))

    def sampled_rows(self, count: int, number: int, adapter: Path | None) -> TargetRows:
        """Return `count` harmful prompts at most, over all forms, with what the student with its
        `adapter` samples behind them, and the teacher's likeliest next tokens there.

        `number` tells draws apart. The student is freed before the teacher is loaded.
        """
        reading = self._read(self._training_prompts[0])
        places = [(form, key) for form, own in reading.items() for key in own]
        chosen = np.random.default_rng((self.seed, number)).permutation(len(places))[:count]
        drawn: dict[str, list[str]] = {form: [] for form in reading}
        for form, key in (places[i] for i in sorted(chosen.tolist())):
            drawn[form].append(key)

        def make(folder: Path) -> None:
            rows = self._sample(drawn, number, adapter)
            counted = [len(row.completion) for row in rows]
            with open_teacher(self.models, self.probe) as teacher:
                prompts = [
                    ids
                    for form, keys in drawn.items()
                    for ids in self._read_by_teacher(teacher, form, keys).values()
                ]
                read = [replace(r, prompt=p) for r, p in zip(rows, prompts, strict=True)]
                self._store(teacher, read, counted, (), folder)
            TargetRows(rows, counted).save(folder)

        by = adapter.name if adapter else "itself"
        name = f"samples-{self.teacher_name}-{by}-{number}"
        return TargetRows.load(made_once(self.scratch / name, make))

    def _sample(
        self, drawn: Mapping[str, Sequence[str]], number: int, adapter: Path | None
    ) -> list[TrainingRow]:
        """Return what the student samples behind prompts, named by form and id, and free it."""
        reading, student = self._read(self._training_prompts[0]), self.student()
        if adapter:
            adapted: Any = attach_adapter(student.model, adapter)
            student = replace(student, model=adapted)
        return [
            row
            for form, keys in drawn.items()
            for row in own_completions(
                student,
                {key: reading[form][key] for key in keys},
                max_new_tokens=self.settings.refusal_tokens,
                label=f"own samples, {form}",
                temperature=1.0,
                seed=self.seed + number,
            )
        ]

    def compliant_rows(self, tokens: int, layers: Sequence[int]) -> TargetRows:
        """Return harmful prompts with the post-trained model's own answers that are no refusals, at
        most `tokens` of each, and its states there at `layers`.

        Raises `TrainingError` where there are too few such answers.
        """
        prompts = self._training_prompts[0]
        return self._ask_student("compliant", prompts, tokens, layers, compliant=True)

    def early_stop(self) -> EarlyStop | None:
        """Return when a training may stop early; None where the settings do not say."""
        stop = self.settings.early_stop
        if stop is None:
            return None
        layers = range(1, max(self.probe.target_layers) + 1)
        harmful, retained = self._validation_prompts
        return EarlyStop(
            stop,
            self.settings.rules,
            self.tokenizer,
            self._read(harmful),
            self._ask_student("validation", retained, stop.tokens, layers),
            layers,
        )

    def student(self) -> Reader:
        """Return the post-trained model, freshly loaded."""
        in_4bit = self.settings.load_in_4bit
        return open_reader(self.models, self.models.post_trained, load_in_4bit=in_4bit)

    @property
    def teacher_name(self) -> str:
        """The teacher with the layers at which its states are stored, as part of a file's name."""
        return "-".join(map(str, (self.probe.teacher, *self.probe.target_layers)))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The student's tokenizer."""
        return load_tokenizer(checkpoint_folder(self.models, self.models.post_trained))

    @cached_property
    def _training_prompts(self) -> tuple[list[Prompt], list[Prompt]]:
        """Harmful prompts, and those whose answers are to stay."""
        return self._draw(Split.TRAIN, self.settings.harmful_prompts, self.settings.retain_prompts)

    @cached_property
    def _validation_prompts(self) -> tuple[list[Prompt], list[Prompt]]:
        """The same of the validation split, for stopping early; none where that is not wanted."""
        stop = self.settings.early_stop
        return self._draw(Split.VALIDATION, stop.prompts, stop.prompts) if stop else ([], [])

    def _draw(self, split: Split, harmful: int, retain: int) -> tuple[list[Prompt], list[Prompt]]:
        rows = self.prompts.rows(split=split)
        generator = np.random.default_rng(self.seed)
        return (
            sample_prompts(rows, (Role.HARMFUL,), harmful, generator, split=split),
            sample_prompts(rows, RETAINED, retain, generator, split=split),
        )

    def _read(self, prompts: list[Prompt]) -> Reading:
        """Return the prompts as the student reads them."""
        forms, limit = self.settings.forms, self.settings.max_prompt_tokens
        return read_prompts(self.tokenizer, prompts, forms=forms, max_tokens=limit, seed=self.seed)

    def _asked(self, form: str) -> str:
        """Return the form in which the teacher is asked where the student reads `form`."""
        plain = self.settings.teacher_reads == "plain"
        return plain_form(self.tokenizer, form) if plain else form

    def _read_by_teacher(
        self, teacher: Reader, form: str, ids: Iterable[str]
    ) -> dict[str, tuple[int, ...]]:
        """Return training prompts, named by their `ids`, as the teacher is asked them where the
        student reads `form`."""
        texts = {p.id: p for prompts in self._training_prompts for p in prompts}
        limit, reword, asked = self.settings.max_prompt_tokens, teacher.reword, self._asked(form)

        def read(prompt: Prompt) -> tuple[int, ...]:
            return tuple(
                render_form(
                    self.tokenizer, prompt, asked, seed=self.seed, limit=limit, reword=reword
                )[0]
            )

        return {key: read(texts[key]) for key in ids}

    def _store(
        self,
        reader: Reader,
        rows: Sequence[TrainingRow],
        counted: Sequence[int],
        layers: Sequence[int],
        folder: Path,
    ) -> None:
        """Store what the model of `reader` computes of rows as it reads them."""
        likeliest = self.settings.likeliest
        store_targets(
            reader.model, rows, counted, layers=layers, likeliest=likeliest, folder=folder
        )

    def _ask_teacher(self, folder: Path) -> None:
        """Store the teacher's refusals and its states, and free it.

        It is judged by no fewer tokens than in its check, since a refusal may come behind a long
        thought. It is asked in every form that the student reads, or where `teacher_reads` says so
        in its plain one, so an adapter holds in all of them; deviation from the paper, too.
        """
        settings, waived, found = self.settings, refusals_waived(self.probe), Refusals()
        tokens = max(settings.taught_tokens, self.probe.check_tokens)
        answers: dict[tuple[int, ...], tuple[int, ...]] = {}
        verdicts: list[bool] = []
        with open_teacher(self.models, self.probe) as teacher:
            for form, prompts in self._read(self._training_prompts[0]).items():
                asked = self._read_by_teacher(teacher, form, prompts)
                fresh = {key: ids for key, ids in asked.items() if ids not in answers}
                label = f"teacher answers, {form}"
                written = own_completions(teacher, fresh, max_new_tokens=tokens, label=label)
                answers |= {row.prompt: row.completion for row in written}
                answered = [TrainingRow(key, ids, answers[ids]) for key, ids in asked.items()]
                refused = [refuses(teacher, row, settings.rules) for row in answered]
                refusals = keep_refusals(answered, refused, form=form, waived=waived)
                found.add(refusals, prompts, settings, same_form=self._asked(form) == form)
                verdicts += refused
            layers = self.probe.target_layers
            log.info("storing the teacher's states at layers %s", list(layers))
            self._store(teacher, found.by_teacher, found.counted, layers, folder)
        TargetRows(found.by_student, found.counted).save(folder)
        counts = {"refused": sum(verdicts), "prompts": len(verdicts), "by_form": found.by_form}
        write_json(folder / _COUNTS, counts)

    def _own_answers(
        self, name: str, prompts: list[Prompt], tokens: int, student: Reader | None = None
    ) -> TargetRows:
        """Return the post-trained model's own greedy answers in all forms."""

        def make(folder: Path) -> None:
            reader = student or self.student()
            rows = [
                row
                for form, ids in self._read(prompts).items()
                for row in own_completions(
                    reader, ids, max_new_tokens=tokens, label=f"own answers, {name}, {form}"
                )
            ]
            TargetRows(rows, [len(row.inputs) for row in rows]).save(folder)

        return TargetRows.load(made_once(self.scratch / name, make))

    def _ask_student(
        self,
        name: str,
        prompts: list[Prompt],
        tokens: int,
        layers: Sequence[int],
        *,
        compliant: bool = False,
    ) -> TargetRows:
        """Return the post-trained model's own answers with its states, if any, and next tokens."""

        def make(folder: Path) -> None:
            student = self.student()
            rows = self._own_answers(name, prompts, tokens, student).rows
            if compliant:
                rows = keep_compliant(student, rows, self.settings.rules)
            counted = [row.counted(0) if compliant else len(row.inputs) for row in rows]
            config, itemsize = student.model.config, student.model.dtype.itemsize
            size = sum(counted) * len(layers) * config.hidden_size * itemsize
            if layers:
                log.info("the states of %d rows, %s, take %.1f GiB", len(rows), name, size / 2**30)
            stored = layers if size <= MAX_REFERENCE_BYTES else ()
            self._store(student, rows, counted, stored, folder)
            TargetRows(rows, counted).save(folder)

        deepest = max(layers, default=0)
        return TargetRows.load(made_once(self.scratch / f"{name}-{deepest}", make))
