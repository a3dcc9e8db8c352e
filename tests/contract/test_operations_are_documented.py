"""docs/operations.md and the code name the same settings and the same metrics."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from orchestrator.settings import ManagedBackend, RemoteBackend, Settings
from orchestrator.telemetry.metrics import Metrics

OPERATIONS = (Path(__file__).parent.parent.parent / "docs" / "operations.md").read_text()


def first_cells(heading: str) -> list[str]:
    """The first cells of the table whose heading begins so."""
    table = OPERATIONS.split(f"| {heading}", 1)[1].split("\n\n", 1)[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    named = [name.strip() for cell in first_cells("setting |") for name in cell.split(",")]
    assert sorted(named) == sorted(Settings.model_fields)


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("remote | a ComfyUI that you run", RemoteBackend), ("managed | a ComfyUI that the service", ManagedBackend)],
)
def test_every_field_of_a_backend_is_documented_and_nothing_else_is(heading: str, kind: type[BaseModel]) -> None:
    fields = set(kind.model_fields)
    if kind is RemoteBackend:
        fields -= {"kind"}  # which need not be written there
    else:
        fields -= {"editor_url"}  # which the other table tells of both
    assert sorted(first_cells(heading)) == sorted(fields)


def test_every_metric_is_documented_with_its_labels_and_nothing_else_is() -> None:
    table = OPERATIONS.split("| metric |", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:]]
    documented = {name: set(filter(None, labels.split(", "))) for name, labels in rows}
    assert documented == Metrics().described


def test_every_variable_of_the_environment_that_is_named_is_one() -> None:
    named: set[str] = set(re.findall(r"ORCHESTRATOR_([A-Z_]+)", OPERATIONS)) - {
        "URL",
        "KEY",
    }  # the node pack's and the client's
    assert named <= {name.upper() for name in Settings.model_fields}
