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
from components.core.vocabulary import PLAIN_FORMS, Form, Role, Split
from components.lm.adapters import attach_adapter
from components.lm.loading import checkpoint_folder, load_tokenizer
from components.train.answers import (
    Answers,
    Asking,
    answered,
    asked_prompts,
    form_asked,
    own_answers,
    own_completions,
    put_to,
)
from components.train.batches import TargetRows, store_targets
from components.train.early_stop import EarlyStop
from components.train.processes import made_once, refuse_launcher_settings
from components.train.rows import (
    RETAINED,
    Reading,
    Refusals,
    TrainingRow,
    keep_compliant,
    keep_refusals,
    read_prompts,
    refuses,
    sample_prompts,
    shared_end,
)
from components.train.settings import Reads, TrainSettings
from components.train.taught import Counts, TeacherData
from components.train.teacher import Reader, open_reader, open_teacher, refusals_waived

if TYPE_CHECKING:
    from components.core.vocabulary import Prompt
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe

log = logging.getLogger(__name__)

# Larger references are computed in each step: a disk is then no quicker than the model.
MAX_REFERENCE_BYTES = 2 << 30


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
        return TeacherData.load(folder, self.settings.refusal_tokens)

    def retained_rows(self, depth: int | None) -> TargetRows:
        """Return the post-trained model's own answers, to be held: by its states at layers 1 to
        `depth` and its likeliest next tokens; 0: by the tokens alone; None: by neither.

        All positions count that read the same as what was asked (`retain_reads`). The answers are
        asked for once, whatever is held. States are stored where they take at most
        `MAX_REFERENCE_BYTES`; `TrainingError` where they take more and cannot be computed in each
        step, since under an attack the student reads another prompt than was asked.
        """
        reading, settings = self._read(self._training_prompts[1]), self.settings
        tokens, reads = settings.retain_tokens, settings.retain_reads
        if depth is None:
            return TargetRows.load(self._own_answers("retained", reading, tokens, reads))
        return self._ask_student("retained", reading, tokens, range(1, depth + 1), reads=reads)

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
                read = put_to(rows, self._asked(teacher, drawn, self.settings.teacher_reads))
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
        reading = self._read(self._training_prompts[0])
        return self._ask_student("compliant", reading, tokens, layers, compliant=True)

    def early_stop(self) -> EarlyStop | None:
        """Return when a training may stop early; None where the settings do not say."""
        stop = self.settings.early_stop
        if stop is None:
            return None
        layers = range(1, max(self.probe.target_layers) + 1)
        harmful, retained = self._validation_prompts
        forms = self.settings.forms
        if self.settings.retain_reads == "plain":  # under attacks the student's states are to move
            forms = tuple(form for form in forms if form in PLAIN_FORMS) or (Form.SERVED,)
        reading = self._read(retained, forms)
        return EarlyStop(
            stop,
            self.settings.rules,
            self.tokenizer,
            self._read(harmful),
            self._ask_student("validation", reading, stop.tokens, layers),
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

    @property
    def _texts(self) -> dict[str, Prompt]:
        drawn = (*self._training_prompts, *self._validation_prompts)
        return {prompt.id: prompt for prompts in drawn for prompt in prompts}

    def _draw(self, split: Split, harmful: int, retain: int) -> tuple[list[Prompt], list[Prompt]]:
        rows = self.prompts.rows(split=split)
        generator = np.random.default_rng(self.seed)
        return (
            sample_prompts(rows, (Role.HARMFUL,), harmful, generator, split=split),
            sample_prompts(rows, RETAINED, retain, generator, split=split),
        )

    def _read(self, prompts: list[Prompt], forms: Sequence[str] = ()) -> Reading:
        """Return the prompts as the student reads them, by default in the forms of the settings."""
        forms, limit = forms or self.settings.forms, self.settings.max_prompt_tokens
        return read_prompts(self.tokenizer, prompts, forms=forms, max_tokens=limit, seed=self.seed)

    def _asked(self, reader: Reader, forms: Mapping[str, Iterable[str]], reads: Reads) -> Reading:
        """Return prompts, named by form and id, as `reader` is asked them."""
        limit, texts = self.settings.max_prompt_tokens, self._texts
        return asked_prompts(reader, forms, texts, reads=reads, max_tokens=limit, seed=self.seed)

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
        reads, reading = settings.teacher_reads, self._read(self._training_prompts[0])
        answers, count = Answers(), 0
        with open_teacher(self.models, self.probe) as teacher:
            asked = self._asked(teacher, reading, reads)
            asking = Asking(teacher, reads, tokens, "teacher answers")
            for form, read in reading.items():
                rows = answered(asking, answers, asked[form], read, form)
                refused = [refuses(teacher, row, settings.rules) for row in rows]
                kept = keep_refusals(rows, refused, asked=len(read), form=form, waived=waived)
                same_form = form_asked(teacher, form, reads) == form
                found.add(kept, read, settings, same_form=same_form)
                count += sum(refused)
            layers = self.probe.target_layers
            log.info("storing the teacher's states at layers %s", list(layers))
            self._store(teacher, found.by_teacher, found.counted, layers, folder)
        TargetRows(found.by_student, found.counted).save(folder)
        prompts = sum(map(len, asked.values()))
        Counts(count, prompts, found.by_form).save(folder)

    def _own_answers(
        self, name: str, reading: Reading, tokens: int, reads: Reads, student: Reader | None = None
    ) -> Path:
        """Return where the post-trained model's own greedy answers lie behind prompts as the
        student reads them, and in `asked` as they were asked."""

        def make(folder: Path) -> None:
            reader = student or self.student()
            asked = self._asked(reader, reading, reads)
            asking = Asking(reader, reads, tokens, f"own answers, {name}")
            pairs = own_answers(asking, reading, asked, self._texts)
            shared = [shared_end(own.prompt, row.prompt, len(own.prompt)) for row, own in pairs]
            counted = [own.counted(n) for (_, own), n in zip(pairs, shared, strict=True)]
            TargetRows([row for row, _ in pairs], counted).save(folder / "asked")
            TargetRows([own for _, own in pairs], counted).save(folder)

        return made_once(self.scratch / name, make)

    def _ask_student(
        self,
        name: str,
        reading: Reading,
        tokens: int,
        layers: Sequence[int],
        *,
        reads: Reads = "form",
        compliant: bool = False,
    ) -> TargetRows:
        """Return the post-trained model's own answers with its states, if any, and next tokens."""

        def make(folder: Path) -> None:
            student = self.student()
            answers = self._own_answers(name, reading, tokens, reads, student)
            held = TargetRows.load(answers)
            asked = TargetRows.load(answers / "asked", made=answers).rows
            rows, counted = held.rows, held.counted
            if compliant:
                asked = rows = keep_compliant(student, rows, self.settings.rules)
                counted = [row.counted(0) for row in rows]
            config, itemsize = student.model.config, student.model.dtype.itemsize
            size = sum(counted) * len(layers) * config.hidden_size * itemsize
            if layers:
                log.info("the states of %d rows, %s, take %.1f GiB", len(rows), name, size / 2**30)
            stored = layers if size <= MAX_REFERENCE_BYTES else ()
            if layers and not stored and asked != rows:
                raise TrainingError(
                    f"the states of the retained rows take {size / 2**30:.1f} GiB, more than are "
                    "stored, and with train.retain_reads: plain they cannot be computed in each "
                    "step; set train.retain_reads: form, hold next tokens (train.method: distil), "
                    "take attacks out of train.forms, or lower train.retain_prompts or "
                    "train.retain_tokens"
                )
            self._store(student, asked, counted, stored, folder)
            TargetRows(rows, counted).save(folder)

        deepest = max(layers, default=0)
        return TargetRows.load(made_once(self.scratch / f"{name}-{deepest}", make))
