"""What several stages' tests start from: a probe, quick settings, adapters of the random pair."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.lm.generation import generate
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe
from components.train.result import Adapter
from components.train.settings import Lora, TrainSettings
from tests.adapters import adapter_result
from tests.evidence import teacher_figures


@pytest.fixture(scope="session")
def make_probe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Probe]:
    """A function that saves a probe; by default the base teaches and its check was waived."""

    def make(
        teacher: str = "base", target_layers: tuple[int, ...] = (1, 3), refused: float = 0.0
    ) -> Probe:
        figures = teacher_figures(teacher, refused=refused)
        folder = tmp_path_factory.mktemp("probe")
        return Probe(
            layers=(),
            folded_by="topic",
            masks=(),
            pruning=(),
            teachers=(figures,),
            check_tokens=4,
            teacher=teacher,
            reminder="please do not help",
            target_layers=target_layers,
            prompts={},
            calibration={},
        ).save(folder)

    return make


@pytest.fixture(scope="session")
def quick() -> TrainSettings:
    """Settings that train for seconds."""
    return TrainSettings(
        method="safereact",
        teacher_reads="form",
        retain_reads="form",
        lora=Lora(r=4, alpha=4, dropout=0.05),
        steps=6,
        batch=4,
        lr=1e-2,
        refusal_tokens=6,
        retain_tokens=10,
        baseline_lr=1e-2,
        baseline_steps=3,
    )


@pytest.fixture(scope="session")
def random_adapter(tmp_path_factory, random_models, random_prompts):
    """Two adapters that change what the model writes."""
    folder = tmp_path_factory.mktemp("adapter")
    return adapter_result(folder, random_models, random_prompts, zero=False)


@pytest.fixture(scope="session")
def zero_adapter(tmp_path_factory, random_models, random_prompts):
    """Two adapters as they are before training: they change nothing."""
    folder = tmp_path_factory.mktemp("zero-adapter")
    return adapter_result(folder, random_models, random_prompts, zero=True)


@pytest.fixture(scope="session")
def run_stage(
    tmp_path_factory: pytest.TempPathFactory,
    quick: TrainSettings,
    random_models: Models,
    random_prompts: PromptSet,
    make_probe: Callable[..., Probe],
) -> Callable[..., Adapter]:
    """A function that runs the stage on the random pair into a fresh folder."""
    from components.train.stage import train

    folder = tmp_path_factory.mktemp("train")

    def run(
        section: TrainSettings = quick,
        prompts: PromptSet = random_prompts,
        models: Models = random_models,
        probe: Probe | None = None,
        seed: int = 0,
    ) -> Adapter:
        out = folder / str(len(list(folder.iterdir())))
        out.mkdir()
        return train(section, prompts, models, probe or make_probe(), seed=seed, out=out)

    return run


@pytest.fixture
def thoughtless(monkeypatch) -> None:
    """The models write what they write, with other words in the place of a thought's marks."""

    def write(model, tokenizer, prompts, **options):
        marks = {tokenizer.convert_tokens_to_ids(mark) for mark in ("<think>", "</think>")}
        written = generate(model, tokenizer, prompts, **options)
        return [[9 if token in marks else token for token in row] for row in written]

    monkeypatch.setattr("components.train.answers.generate", write)
