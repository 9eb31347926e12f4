"""The bill of materials against the schema, and against what it is made of."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from components.core.paths import Workspace
from components.core.storage import digest_file
from components.core.vocabulary import Role
from components.lm.references import CheckpointRef
from components.registry.bom import BOM, bill_of
from components.registry.registration import register
from components.registry.release import Release, gather_release
from tests.evidence import save_prompts, suite_spec
from tests.releases import NAMES


def bill(release: Release, **changes) -> dict:
    """Return the bill of a release, once the library finds that it keeps to the schema."""
    made = bill_of(replace(release, **changes), name="demo-safety")
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made))
    assert problem is None, problem
    return made


def changed(models, **fields):
    return models.model_copy(update=fields)


def test_the_schema_would_refuse_what_it_does_not_know(release):
    made = bill(release) | {"metadata": {"component": {"type": "adapter", "name": "x"}}}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)) is not None


def test_the_adapter_is_its_files(release):
    adapter = bill(release)["metadata"]["component"]
    assert adapter["type"] == "machine-learning-model"
    hashes = {one["name"]: one["hashes"] for one in adapter["components"]}
    folder = release.adapter.adapter
    assert hashes == {
        path.name: [{"alg": "SHA-256", "content": digest_file(path)}] for path in folder.iterdir()
    }
    assert adapter["version"] == release.decision.adapter


def test_figures_are_those_of_the_evidence_with_their_intervals(release):
    card = bill(release)["metadata"]["component"]["modelCard"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    found = {(one["type"], one["slice"]): one for one in metrics}
    rate = release.evidence.rates["restored"]["harmful.refused"]
    one = found["harmful.refused", f"restored, n={rate.n}"]
    ends = one["confidenceInterval"]
    assert [float(one["value"]), float(ends["lowerBound"]), float(ends["upperBound"])] == [
        *(rate.rate, rate.low, rate.high)
    ]
    assert len(found) == len(metrics)
    difference = release.evidence.differences[0]
    pair = f"{difference.arm} - {difference.against}"
    assert float(found[f"{difference.metric} difference", pair]["value"]) == difference.difference
    limits = card["considerations"]["technicalLimitations"]
    assert set(release.decision.unknown) <= set(limits)


def names(components) -> list[str]:
    return [one["bom-ref"] for one in components]


def test_where_the_post_trained_model_comes_from(release):
    def pedigree(models) -> dict:
        (post,) = bill(release, models=models)["metadata"]["component"]["pedigree"]["ancestors"]
        assert post["bom-ref"] == "model:post"
        digests = {one["name"]: one["value"] for one in post["properties"]}
        assert digests["safereact:digest"] == models.post_trained.digest
        return post["pedigree"]

    models = changed(release.models, same_lineage=True)
    assert names(pedigree(models)["ancestors"]) == ["model:base"]
    relative = pedigree(changed(models, same_lineage=False))
    assert names(relative["variants"]) == ["model:base"] and "ancestors" not in relative
    hub = CheckpointRef(location="owner/name", where="hub", revision="a" * 40, digest="a" * 40)
    both = pedigree(changed(models, ancestor=hub))
    assert both["ancestors"][0]["version"] == "a" * 40
    assert names(both["variants"]) == ["model:base"]


def test_data_have_digest_or_commit_and_licence(release, tmp_path):
    specs = {
        "own-suite": suite_spec(Role.BENIGN),
        "hub-suite": suite_spec(Role.BENIGN).model_copy(
            update={"digest": "b" * 40, "licence": "LicenseRef-house", "origin": "a/b"}
        ),
    }
    shutil.copytree(release.prompts.folder, tmp_path / "prepare")
    save_prompts(tmp_path / "prepare", specs)
    made = bill(release, prompts=type(release.prompts).load(tmp_path / "prepare"))
    found = {one["name"]: one for one in made["components"]}
    assert len(found) == len(made["components"])
    assert found["hub-suite"]["version"] == "b" * 40 and "hashes" not in found["hub-suite"]
    assert found["hub-suite"]["licenses"] == [{"license": {"name": "LicenseRef-house"}}]
    card = made["metadata"]["component"]["modelCard"]["modelParameters"]
    assert {one["ref"] for one in card["datasets"]} == set(names(made["components"]))


def test_it_is_the_same_in_every_run_and_another_of_another_adapter(release):
    made = bill(release)
    assert made == bill(gather_release(Workspace(release.prompts.folder.parents[2], "demo")))
    other = release.decision.model_copy(update={"adapter": "f" * 64})
    assert bill(release, decision=other)["serialNumber"] != made["serialNumber"]
    assert "timestamp" not in json.dumps(made)


def test_it_is_registered_with_the_evidence(workspace, registry, tmp_path):
    register(workspace, **NAMES)
    registry.fetch(registry.version(NAMES["name"], "1"), tmp_path)
    stored = json.loads((tmp_path / "evidence" / BOM).read_text())
    assert stored == bill_of(gather_release(workspace), name=NAMES["name"])
