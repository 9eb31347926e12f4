"""Stage `train`: the adapter, and the LoRA-SFT baseline beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.core import paths
from components.core.run_record import part
from components.core.storage import write_json_lines
from components.core.vocabulary import Arm
from components.train.data import TrainingData
from components.train.methods import ask_models, open_method, train_adapter
from components.train.processes import is_first, save_once
from components.train.result import Adapter

if TYPE_CHECKING:
    from components.models.result import Models
    from components.prepare.result import PromptSet
    from components.probe.result import Probe
    from components.train.settings import TrainSettings


def train(
    section: TrainSettings,
    prompts: PromptSet,
    models: Models,
    probe: Probe,
    *,
    seed: int,
    out: Path,
) -> Adapter:
    """Return the trained adapters, saved below `out` with the curves of the losses.

    The teacher's states are stored first and the teacher is freed; then the student is loaded.
    What a killed run left in `out` is taken up. Several processes may call it together (see
    processes.py). The same inputs, seed and number of threads and processes give the same bytes on
    the same CPU. Raises `ConfigError` for an unknown method, and `TrainingError` where the
    teacher or the prompts will not do, a loss is not finite, or a launcher turns DeepSpeed on.
    """
    data = TrainingData(section, prompts, models, probe, seed, out / ".scratch")
    method, plain = open_method(section.method, data), open_method("sft", data, section.baseline)
    ask_models(method, data)
    ask_models(plain, data)
    # Read before the adapters are trained: the first process deletes them once it is done.
    taught, retained = method.taught(data), data.retained_rows(None)
    teacher = taught.teacher_data()
    with part(Arm.RESTORED.value):
        restored = train_adapter(method, data, out / paths.ADAPTER)
    with part(Arm.BASELINE.value):
        baseline = train_adapter(plain, data, out / paths.BASELINE)
    progress = restored.progress
    if is_first():
        write_json_lines(out / paths.CURVES, progress.curves)
    result = Adapter(
        method=section.method,
        digest=restored.digest,
        baseline_digest=baseline.digest,
        base_model=models.post_trained.digest,
        data=prompts.digest_of_prompts,
        contract=models.post_trained.contract,
        teacher=taught.probe.teacher,
        target_layers=probe.target_layers,
        adapted_layers=max(method.adapted_layers),
        parameters=restored.parameters,
        steps=progress.taken,
        stopped=progress.stopped or "after all its steps",
        baseline_steps=baseline.progress.taken,
        tokens=progress.tokens,
        baseline_tokens=baseline.progress.tokens,
        harmful_rows=restored.harmful_rows,
        teacher_refused=teacher.refused,
        teacher_prompts=teacher.prompts,
        retain_rows=len(retained.rows),
        losses={name: progress.first_and_last(name) for name in progress.losses},
    )
    return save_once(result, out, data.scratch)
