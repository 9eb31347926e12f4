"""What the adapters of one pair are trained on: asked once, kept on disk, shared by all methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.core.vocabulary import Role, Split
from components.lm.loading import checkpoint_folder, free_memory, load_model, load_tokenizer
from components.lm.masks import PROJECTIONS
from components.train.adapters import add_lora
from components.train.early_stop import Criterion
from components.train.lessons import load_lesson, load_side, save_lesson, save_side
from components.train.processes import made_once
from components.train.rows import RETAINED, read_prompts, sample_prompts
from components.train.sides import compliant_side, retained_side, teacher_lesson
from components.train.teacher import Reader, open_teacher, refusals_waived

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from components.core.vocabulary import Prompt
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe
    from components.train.batches import Side
    from components.train.rows import Reading
    from components.train.settings import TrainSettings
    from components.train.sides import Lesson


@dataclass(frozen=True)
class Course:
    """One pair, its prompts and the settings of `train`.

    All prompts are drawn first: where a split lacks what training needs of it, `TrainingError` is
    raised before any model is asked. What is asked of a model lies in `scratch` afterwards, where a
    resumed stage, the other methods and the other processes find it.
    """

    settings: TrainSettings
    prompts: PromptSet
    models: Models
    seed: int
    scratch: Path

    def __post_init__(self) -> None:
        _ = self._drawn, self._watched

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The student's tokenizer."""
        return load_tokenizer(checkpoint_folder(self.models, self.models.post_trained))

    def lesson(self, probe: Probe) -> Lesson:
        """Return the lesson of the probe's teacher, which is freed again."""

        def make(folder: Path) -> None:
            with open_teacher(self.models, probe) as teacher:
                lesson = teacher_lesson(
                    teacher,
                    self._drawn[0],
                    self._read(self._drawn[0]),
                    refusal_tokens=self.settings.refusal_tokens,
                    check_tokens=probe.check_tokens,
                    prompt_tokens=self.settings.prompt_tokens,
                    layers=probe.target_layers,
                    patterns=self.settings.rules.refusal_patterns,
                    compliance_pattern=self.settings.rules.compliance_pattern,
                    waived=refusals_waived(probe),
                    folder=folder,
                )
            save_lesson(lesson, folder)

        return load_lesson(made_once(self.scratch / f"lesson-{probe.teacher}", make))

    def retained(self, depth: int) -> Side:
        """Return the post-trained model's own answers, to be held at layers 1 to `depth`."""
        return self._held(self._drawn[1], self.settings.retain_tokens, depth, f"retain-{depth}")

    def compliant(self, tokens: int, layers: Sequence[int]) -> Side:
        """Return the post-trained model's own compliant answers to the harmful prompts, at most
        `tokens` of each, with its states at `layers`."""

        def make(folder: Path) -> None:
            side = compliant_side(
                self.student(),
                self._read(self._drawn[0]),
                max_new_tokens=tokens,
                layers=layers,
                patterns=self.settings.rules.refusal_patterns,
                compliance_pattern=self.settings.rules.compliance_pattern,
                folder=folder,
            )
            save_side(side, folder)

        return load_side(made_once(self.scratch / "compliant", make))

    def criterion(self, probe: Probe) -> Criterion | None:
        """Return when a training may stop early; None where the settings do not say."""
        stop = self.settings.early_stop
        if stop is None:
            return None
        depth = max(probe.target_layers)
        harmful, benign = self._watched
        return Criterion(
            every=stop.every,
            harmful_refused=stop.harmful_refused,
            retention=stop.retention,
            tokenizer=self.tokenizer,
            harmful=self._read(harmful),
            retain=self._held(benign, stop.tokens, depth, "validation"),
            depth=depth,
            tokens=stop.tokens,
            patterns=self.settings.rules.refusal_patterns,
            compliance_pattern=self.settings.rules.compliance_pattern,
        )

    def student(self) -> Reader:
        """Return the post-trained model, freshly loaded."""
        free_memory()  # an earlier student may still be held by its trainer's circle of references
        folder = checkpoint_folder(self.models, self.models.post_trained)
        model = load_model(folder, load_in_4bit=self.settings.load_in_4bit)
        return Reader(model, self.tokenizer)

    def adapted(
        self,
        layers: Sequence[int],
        *,
        modules: Sequence[str] = PROJECTIONS,
        rank: int | None = None,
    ) -> PeftModel:
        """Return a student with a fresh LoRA on `modules` of decoder blocks `layers`, 1 = first.

        With a `rank` of its own the update is scaled by 1, as where alpha is r.
        """
        shape = self.settings.lora.model_dump() | ({"r": rank, "alpha": rank} if rank else {})
        return add_lora(
            self.student().model,
            layers=layers,
            modules=modules,
            location=self.models.post_trained.location,
            seed=self.seed,
            **shape,
        )

    @cached_property
    def _drawn(self) -> tuple[list[Prompt], list[Prompt]]:
        """Harmful prompts, and those whose answers are to stay."""
        return self._draw(Split.TRAIN, self.settings.harmful_prompts, self.settings.retain_prompts)

    @cached_property
    def _watched(self) -> tuple[list[Prompt], list[Prompt]]:
        """The same of the validation split, for the criterion; none where there is none."""
        stop = self.settings.early_stop
        return self._draw(Split.VALIDATION, stop.prompts, stop.prompts) if stop else ([], [])

    def _draw(self, split: Split, harmful: int, retain: int) -> tuple[list[Prompt], list[Prompt]]:
        rows = self.prompts.rows(split=split)
        generator = np.random.default_rng(self.seed)
        return (
            sample_prompts(rows, (Role.HARMFUL,), harmful, generator, split=split),
            sample_prompts(rows, RETAINED, retain, generator, split=split),
        )

    def _held(self, prompts: list[Prompt], tokens: int, depth: int, name: str) -> Side:
        def make(folder: Path) -> None:
            side = retained_side(
                self.student(),
                self._read(prompts),
                max_new_tokens=tokens,
                depth=depth,
                folder=folder,
            )
            save_side(side, folder)

        return load_side(made_once(self.scratch / name, make))

    def _read(self, prompts: list[Prompt]) -> Reading:
        """Return the prompts as the student reads them."""
        return read_prompts(
            self.tokenizer,
            prompts,
            forms=self.settings.forms,
            max_tokens=self.settings.max_prompt_tokens,
        )
