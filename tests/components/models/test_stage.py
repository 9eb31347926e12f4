"""The stage `models`: pairs that exist are described, pairs that do not are built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from components.core.errors import ConfigError, ModelError
from components.lm.loading import checkpoint_folder
from components.models.result import Models
from components.models.settings import Checkpoints, FineTune, PostTrain
from components.models.stage import models, same_lineage
from tests.checkpoints import write_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def pair(random_models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the checkpoints `base` and `post-trained`."""
    for name in ("base", "post-trained"):
        shutil.copytree(random_models.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(pair: Path, prompts, *, base: str = "base", post_trained: str = "post-trained", **more):
    out = pair / "out"
    out.mkdir(exist_ok=True)
    section = Checkpoints(base=base, post_trained=post_trained, **more)
    return models(section, prompts, seed=0, out=out)


def test_local_checkpoints_are_described_and_not_copied(pair: Path, random_prompts) -> None:
    result = run(pair, random_prompts, lineage="trained on sums")
    assert (result.base.location, result.base.where) == ("base", "local")
    assert result.lineage == "trained on sums" and result.same_lineage
    assert (result.base.layers, result.base.hidden) == (3, 32)
    assert [path.name for path in (pair / "out").iterdir()] == ["models.json"]
    assert Models.load(pair / "out") == result
    assert checkpoint_folder(result, result.base).samefile(pair / "base")


def test_a_path_below_the_working_folder_is_stored_relative(pair: Path, random_prompts) -> None:
    result = run(pair, random_prompts, base=str(pair / "base"))
    assert result.base.location == "base"
    assert str(pair) not in (pair / "out" / "models.json").read_text()


def test_a_pair_is_built_and_described(pair: Path, random_prompts) -> None:
    phase = FineTune(steps=1, batch=2, lr=1e-2, reasoning=1)
    section = PostTrain(source="base", lineage="a random model", post_train=phase)
    result = models(section, random_prompts, seed=0, out=pair / "out")
    assert (result.base.location, result.post_trained.location) == ("base", "post-trained")
    assert result.base.where == "stage" and result.same_lineage
    assert result.lineage == "made from a random model: post-training on chains of thought"
    assert result.base.digest != result.post_trained.digest


def test_an_ancestor_is_described_by_its_weights_alone(pair: Path, random_prompts) -> None:
    write_checkpoint(pair / "ancestor", seed=9)
    (pair / "ancestor" / "chat_template.jinja").unlink()
    result = run(pair, random_prompts, ancestor="ancestor")
    assert (result.ancestor.location, result.ancestor.where) == ("ancestor", "local")
    assert result.vector == (result.post_trained, result.base, result.ancestor)
    assert Models.load(pair / "out") == result
    assert run(pair, random_prompts).vector is None


def test_an_ancestor_that_does_not_fit_leaves_nothing(pair: Path, random_prompts) -> None:
    write_checkpoint(pair / "ancestor", layers=2)
    with pytest.raises(ModelError, match=r"cannot give the teacher `vector`.*models\.ancestor"):
        run(pair, random_prompts, ancestor="ancestor")
    with pytest.raises(ModelError, match=r"models\.ancestor: the folder 'nowhere'"):
        run(pair, random_prompts, ancestor="nowhere")
    with pytest.raises(ConfigError, match=r"models\.ancestor_revision"):
        run(pair, random_prompts, ancestor="owner/name", ancestor_revision="main")
    assert not list((pair / "out").iterdir())


def test_a_pair_that_is_built_keeps_its_ancestor_where_asked(pair: Path, random_prompts) -> None:
    phase = FineTune(steps=1, batch=2, lr=1e-2, reasoning=1)
    wanted = {"source": "base", "post_train": phase, "keep_ancestor": True}
    result = models(PostTrain(**wanted, align=phase), random_prompts, seed=0, out=pair / "out")
    assert (result.ancestor.location, result.ancestor.where) == ("ancestor", "stage")
    kept, source = (load_file(pair / f / "model.safetensors") for f in ("out/ancestor", "base"))
    assert all((kept[name] == source[name]).all() for name in source)
    assert len({ref.digest for ref in result.vector}) == 3
    with pytest.raises(ValidationError, match="keep_ancestor needs `align`"):
        PostTrain(**wanted)


@pytest.mark.parametrize("change", [{"layers": 2}, {"hidden": 64}, {"architecture": "qwen2"}])
def test_another_size_or_architecture_is_another_lineage(
    pair: Path, random_prompts, change: dict
) -> None:
    write_checkpoint(pair / "other", seed=5, **change)
    assert not run(pair, random_prompts, post_trained="other").same_lineage


def test_another_tokenizer_is_another_lineage(random_models) -> None:
    ref = random_models.base
    tokenizer, template = (
        ref.model_copy(update={"contract": ref.contract.model_copy(update={name: "x"})})
        for name in ("tokenizer", "template")
    )
    assert not same_lineage(ref, tokenizer)
    assert same_lineage(ref, template)


def test_a_missing_folder_is_named(pair: Path, random_prompts) -> None:
    with pytest.raises(ModelError, match=r"models\.base: the folder 'nowhere' does not exist"):
        run(pair, random_prompts, base="nowhere")
    (pair / "checkpoints").mkdir()
    with pytest.raises(ModelError, match=r"models\.post_trained: the folder 'checkpoints/none'"):
        run(pair, random_prompts, post_trained="checkpoints/none")


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:12]])
def test_a_hub_checkpoint_needs_its_commit(pair: Path, random_prompts, revision) -> None:
    with pytest.raises(ConfigError, match=r"needs models\.base_revision, a commit of 40 hex"):
        run(pair, random_prompts, base="owner/model", base_revision=revision)


def test_a_hub_checkpoint_that_cannot_be_had_is_named(pair: Path, random_prompts) -> None:
    with pytest.raises(ModelError, match="'owner/model' is neither a local folder"):
        run(pair, random_prompts, base="owner/model", base_revision=COMMIT)


def test_a_local_folder_has_no_revision(pair: Path, random_prompts) -> None:
    with pytest.raises(ConfigError, match=r"models\.base_revision: 'base' is a local folder"):
        run(pair, random_prompts, base_revision=COMMIT)


def test_a_file_is_no_checkpoint(pair: Path, random_prompts) -> None:
    (pair / "model.gguf").touch()
    with pytest.raises(ModelError, match=r"'model\.gguf' is a file.*kind: post-train"):
        run(pair, random_prompts, base="model.gguf")


def test_the_same_checkpoint_twice_is_no_pair(pair: Path, random_prompts) -> None:
    shutil.copytree(pair / "base", pair / "copy")
    with pytest.raises(ModelError, match="'base' and post-trained 'copy' are the same checkpoint"):
        run(pair, random_prompts, post_trained="copy")


def test_the_same_weights_in_other_files_are_no_pair(pair: Path, random_prompts) -> None:
    copy = shutil.copytree(pair / "base", pair / "copy")
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    shards = {"a.safetensors": sorted(weights)[::2], "b.safetensors": sorted(weights)[1::2]}
    for shard, names in shards.items():
        save_file({name: weights[name] for name in names}, copy / shard)
    places = {name: shard for shard, names in shards.items() for name in names}
    index = json.dumps({"metadata": {}, "weight_map": places})
    (copy / "model.safetensors.index.json").write_text(index)
    (copy / "chat_template.jinja").write_text((copy / "chat_template.jinja").read_text() + " ")
    with pytest.raises(ModelError, match="'copy' are the same checkpoint"):
        run(pair, random_prompts, post_trained="copy")


def spoil_nothing_there(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def spoil_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spoil_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def spoil_truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def spoil_missing_shard(folder: Path) -> None:
    index = '{"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)


def spoil_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def spoil_no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def spoil_template(folder: Path) -> None:
    template = "{% for m in messages %}U: static{% endfor %}A:"
    (folder / "chat_template.jinja").write_text(template)


def spoil_no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def spoil_other_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"]["another"] = 75
    path.write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nothing_there, r"config\.json is missing"),
        (spoil_no_weights, r"no \.safetensors weights; save the model"),
        (spoil_pickled, r"only pytorch_model\.bin, and pickled weights are not read"),
        (spoil_truncated, "cannot be read"),
        (spoil_missing_shard, r"lacks shards that its index names: model-2\.safetensors"),
        (spoil_adapter, r"holds an adapter \(adapter_config\.json\); merge it"),
        (spoil_no_template, "chat_template.jinja"),
        (spoil_template, r"post-trained/chat_template\.jinja cannot be used"),
        (spoil_no_tokenizer, "no tokenizer that can be read"),
        (spoil_other_tokenizer, "has no embedding"),
    ],
)
def test_a_broken_checkpoint_is_refused_with_its_remedy(
    pair: Path, random_prompts, spoil, message: str
) -> None:
    spoil(pair / "post-trained")
    with pytest.raises(ModelError, match=message):
        run(pair, random_prompts)
    assert not (pair / "out" / "models.json").exists()
