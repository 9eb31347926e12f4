"""The containers of the tracking server, against the script that they call and its page. Nothing is
started."""

from __future__ import annotations

import re

from components.core.documents import read_yaml
from tests.root import ROOT

FOLDER = ROOT / "mlflow" / "server"
FILE = read_yaml(FOLDER / "compose.yaml")


def test_the_server_has_what_its_script_asks_for():
    asked = re.findall(r': "\$\{(\w+):\?', (FOLDER / "start.sh").read_text())
    assert len(asked) == 5 and FILE["services"]["tracking"]["environment"].keys() >= set(asked)


def test_every_variable_that_is_taken_is_on_the_page():
    page = (ROOT / "mlflow" / "README.md").read_text()
    taken = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
    assert (
        "POSTGRES_PASSWORD" in taken
        and {name for name in taken if f"`{name}`" not in page} == set()
    )


def test_what_a_service_names_is_there():
    services, copied = FILE["services"], r"COPY (\S+)"
    volumes = {
        one.partition(":")[0] for each in services.values() for one in each.get("volumes", ())
    }
    assert volumes == FILE["volumes"].keys()
    assert services["tracking"]["depends_on"].keys() < services.keys()
    assert all(
        (FOLDER / name).is_file()
        for name in re.findall(copied, services["tracking"]["build"]["dockerfile_inline"])
    )
