from __future__ import annotations

import shutil

import pytest
import torch

from components.core.errors import ModelError, StageError, TrainingError
from components.core.paths import MASKS
from components.lm.chat import render_prompt
from components.lm.loading import describe_checkpoint, load_model
from components.lm.masks import PackedMask, projections, save_masks
from components.train.teacher import open_reader, open_teacher, refusals_waived


@pytest.fixture(scope="module")
def base(random_models):
    return load_model(random_models.folder / "base")


def test_base_of_another_lineage_is_refused(random_models, make_probe):
    strangers = random_models.model_copy(update={"same_lineage": False})
    with pytest.raises(TrainingError, match="lineage"), open_teacher(strangers, make_probe()):
        pass


def test_the_base_reads_what_the_student_is_served(random_models, make_probe, tmp_path):
    """The post-trained model's template opens a thought, the base's does not."""
    shutil.copytree(random_models.folder, tmp_path / "models")
    template = tmp_path / "models" / "post-trained" / "chat_template.jinja"
    template.write_text(
        template.read_text().replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    )
    student = describe_checkpoint(
        template.parent, location="post-trained", where="stage", revision=None
    )
    assert student.contract.opens_thought and not random_models.base.contract.opens_thought
    models = random_models.model_copy(update={"post_trained": student}).save(tmp_path / "models")
    with open_teacher(models, make_probe()) as teacher:
        ids = render_prompt(teacher.tokenizer, teacher.reword("how do i open a box ?"))
        assert teacher.tokenizer.convert_ids_to_tokens(ids)[-2:] == [
            "<|assistant|>",
            "<think>",
        ]
        weight = teacher.model.model.embed_tokens.weight
        original = open_reader(random_models, random_models.base).model.model.embed_tokens.weight
        assert torch.equal(weight, original)


def test_missing_masks_stop(random_models, make_probe):
    with (
        pytest.raises(StageError, match=MASKS["pruned"]),
        open_teacher(random_models, make_probe("pruned")),
    ):
        pass


def test_masks_of_another_model_stop(random_models, make_probe):
    probe = make_probe("pruned")
    mask = PackedMask.of(torch.ones(2, 2, dtype=torch.bool))
    save_masks(probe.folder / MASKS["pruned"], {"layers.0.mlp.up_proj": mask})
    with pytest.raises(ModelError, match="another model"), open_teacher(random_models, probe):
        pass


@pytest.mark.parametrize("kind", ["pruned", "pruned-reminder"])
def test_the_pruned_teacher_lacks_the_masked_weights(random_models, make_probe, kind):
    probe = make_probe(kind)
    own = projections(open_reader(random_models, random_models.post_trained).model)
    masks = {name: PackedMask.of(linear.weight > 0) for name, linear in own.items()}
    save_masks(probe.folder / MASKS[kind], masks)
    with open_teacher(random_models, probe) as teacher:
        for name, linear in projections(teacher.model).items():
            assert torch.equal(linear.weight, own[name].weight.clamp(max=0))
        assert (teacher.preamble == probe.reminder) == (kind == "pruned-reminder")


def test_the_reminder_teacher_is_the_post_trained_model(random_models, make_probe, base):
    with open_teacher(random_models, make_probe("reminder")) as teacher:
        plain = render_prompt(teacher.tokenizer, "how do i open a box ?")
        reminded = render_prompt(teacher.tokenizer, teacher.reword("how do i open a box ?"))
        assert len(reminded) > len(plain) and reminded[-3:] == plain[-3:]
        weight = teacher.model.model.embed_tokens.weight
        assert not torch.equal(weight, base.model.embed_tokens.weight)


def test_a_teacher_without_a_check_stops(make_probe):
    probe = make_probe("base").model_copy(update={"teacher": "reminder"})
    with pytest.raises(TrainingError, match="no check"):
        refusals_waived(probe)


def test_only_a_check_that_passed_waives_refusals(make_probe):
    probe = make_probe("base", refused=0.0)
    assert refusals_waived(probe)
    assert not refusals_waived(make_probe("base", refused=0.5))
    failed = probe.teachers[0].model_copy(update={"passed": False})
    assert not refusals_waived(probe.model_copy(update={"teachers": (failed,)}))
