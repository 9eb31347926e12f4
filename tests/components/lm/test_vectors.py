"""The vector of an alignment: added by its formula, taken back bit by bit, refused if unfit."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.core.errors import ModelError
from components.lm.loading import load_model
from components.lm.references import Vector
from components.lm.vectors import check_vector, moved
from tests.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Post-trained, aligned and ancestor, random and of one shape."""
    root = tmp_path_factory.mktemp("vector")
    return [write_checkpoint(root / name, seed=seed) for seed, name in enumerate("pab")]


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def stored(folder):
    return load_file(folder / "model.safetensors")


def test_weights_are_moved_by_the_formula_and_taken_back(folders):
    model = load_model(folders[0], device=torch.device("cpu"))
    before = weights(model)
    own, aligned, ancestor = map(stored, folders)
    with moved(model, Vector(*folders, scale=0.5)):
        for name, weight in model.named_parameters():
            expected = own[name] + 0.5 * (aligned[name] - ancestor[name])
            torch.testing.assert_close(weight, expected)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_checkpoints_may_be_divided_into_files_in_different_ways(folders, tmp_path):
    model = load_model(folders[2], device=torch.device("cpu"))
    model.save_pretrained(tmp_path / "divided", max_shard_size="20KB")
    assert len(list((tmp_path / "divided").glob("*.safetensors"))) > 2
    own, aligned, ancestor = map(stored, folders)
    model = load_model(folders[0], device=torch.device("cpu"))
    with moved(model, Vector(*folders[:2], tmp_path / "divided", scale=1.0)):
        for name, weight in model.named_parameters():
            torch.testing.assert_close(weight.data, own[name] + aligned[name] - ancestor[name])


def test_in_half_precision_the_sum_is_rounded_once_and_nothing_is_lost(folders, monkeypatch):
    monkeypatch.setenv("SAFEREACT_PRECISION", "bfloat16")
    model = load_model(folders[0], device=torch.device("cpu"))
    before = weights(model)
    _, aligned, ancestor = map(stored, folders)
    with (
        pytest.raises(RuntimeError, match="within the block"),
        moved(model, Vector(*folders, scale=2.0)),
    ):
        name = "model.layers.1.mlp.up_proj.weight"
        expected = before[name].float() + 2 * (aligned[name] - ancestor[name])
        assert torch.equal(model.get_parameter(name), expected.bfloat16())
        raise RuntimeError("within the block")
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def tied(folder, seed):
    """Write a Qwen2 with one embedding matrix, which the file holds twice."""
    write_checkpoint(folder, architecture="qwen2", seed=seed)
    config = folder / "config.json"
    text = config.read_text()
    assert '"tie_word_embeddings": false' in text
    config.write_text(text.replace('"tie_word_embeddings": false', '"tie_word_embeddings": true'))
    tensors = stored(folder)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_one_matrix_for_both_embeddings_is_moved_once(tmp_path):
    folders = [tied(tmp_path / name, seed) for seed, name in enumerate("pab")]
    model = load_model(folders[0], device=torch.device("cpu"))
    own, aligned, ancestor = (stored(folder)["lm_head.weight"] for folder in folders)
    with moved(model, Vector(*folders, scale=1.0)):
        assert model.lm_head.weight is model.model.embed_tokens.weight
        torch.testing.assert_close(model.lm_head.weight.data, own + aligned - ancestor)
    assert torch.equal(model.lm_head.weight, own)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layers": 2}, r"9 weights differ, such as model.layers.2.*missing there"),
        ({"hidden": 16}, r"weights differ, such as .* \(.*16.* there and \(.*32.* here"),
    ],
)
@pytest.mark.parametrize("place", ["aligned", "ancestor"])
def test_another_shape_is_one_message(folders, tmp_path, place, change, told):
    other = write_checkpoint(tmp_path / "other", **change)
    vector = Vector(*folders, scale=1.0)
    changed = {name: getattr(vector, name) for name in ("post_trained", "aligned", "ancestor")}
    with pytest.raises(ModelError, match=told) as raised:
        check_vector(Vector(**changed | {place: other}, scale=1.0))
    assert str(other) in str(raised.value) and "models.ancestor" in str(raised.value)


def test_embeddings_that_are_one_on_one_side_only_are_one_message(tmp_path):
    own = write_checkpoint(tmp_path / "own", architecture="qwen2")
    one = tied(tmp_path / "one", 1)
    check_vector(Vector(own, own, own, 1.0))
    with pytest.raises(ModelError, match="embeddings are one there and two matrices here"):
        check_vector(Vector(own, one, own, 1.0))


def test_nothing_is_added_where_the_weights_do_not_fit(folders, tmp_path):
    model = load_model(folders[0], device=torch.device("cpu"))
    before = weights(model)
    other = tmp_path / "other"
    shutil.copytree(folders[1], other)
    tensors = stored(other)
    del tensors["model.norm.weight"]
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    with (
        pytest.raises(ModelError, match=r"model\.norm\.weight"),
        moved(model, Vector(folders[0], folders[1], other, 1.0)),
    ):
        pass
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
