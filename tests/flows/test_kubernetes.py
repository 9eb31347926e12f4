"""The work pool on Kubernetes: its template is one for Prefect, and what a job is made of."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest

from components.core.documents import read_yaml
from tests.root import ROOT

FILE = ROOT / "flows" / "kubernetes.json"
TEMPLATE = json.loads(FILE.read_text())
VARIABLES = read_yaml(ROOT / "prefect.yaml")["definitions"]["pool"]["job_variables"]
GIVEN = {
    **VARIABLES,
    "root": "/srv/safereact",
    "image": "registry.example/safereact:1",
    "claim": "team",
    "mlflow_tracking_uri": "http://mlflow.example:5000",
}


def test_every_placeholder_has_a_variable_and_every_variable_is_used():
    from prefect.utilities.templating import find_placeholders

    used = {found.name for found in find_placeholders(TEMPLATE["job_configuration"])}
    assert used == set(TEMPLATE["variables"]["properties"])


@pytest.mark.slow  # a Prefect server
def test_prefect_takes_the_template_and_what_a_deployment_gives(server: str):
    """What has no default has to be given, and nothing else."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.utilities.schema_tools import is_valid_schema, validate

    schema = TEMPLATE["variables"]
    is_valid_schema(schema)
    validate(GIVEN, schema, raise_on_error=True)
    defaults = {k: v["default"] for k, v in schema["properties"].items() if "default" in v}
    validate(defaults, schema, raise_on_error=True, ignore_required=True)
    assert set(schema["required"]) == set(schema["properties"]) - set(defaults)
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        pool = WorkPoolCreate(name="cluster", type="kubernetes", base_job_template=TEMPLATE)
        assert client.create_work_pool(pool).base_job_template == TEMPLATE


def test_a_job_of_a_run(monkeypatch: pytest.MonkeyPatch):
    """As the worker of `prefect-kubernetes` makes it, where that package is installed."""
    worker = pytest.importorskip("prefect_kubernetes.worker")
    from prefect.client.schemas.objects import FlowRun
    from prefect.settings import PREFECT_API_URL, temporary_settings

    configuration = worker.KubernetesWorkerJobConfiguration
    with temporary_settings({PREFECT_API_URL: "http://prefect.example:4200/api"}):
        job = asyncio.run(configuration.from_template_and_values(TEMPLATE, GIVEN, client=object()))
        job.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="a-run"))
    pod = job.job_manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    expected = {
        **VARIABLES["env"],
        "PREFECT_API_URL": "http://prefect.example:4200/api",
        "MLFLOW_TRACKING_URI": "http://mlflow.example:5000",
        "PYTHONPATH": "/srv/safereact",
    }
    assert environment | expected == environment
    assert container["image"] == "registry.example/safereact:1"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["envFrom"] == [{"secretRef": {"name": "safereact"}}]
    assert container["resources"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": 1}
    assert pod["volumes"] == [{"name": "work", "persistentVolumeClaim": {"claimName": "team"}}]
    mounts = {one["subPath"]: Path(one["mountPath"]) for one in container["volumeMounts"]}
    assert mounts["repository"] == Path("/srv/safereact")
    assert mounts["models"] == Path(environment["HF_HOME"])
