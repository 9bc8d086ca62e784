"""The examples are read, checked and run."""

import importlib.util
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from taskloom.domain.commands import BpmnError
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.errors import Invalid
from taskloom.ports.adapter import Adapter
from taskloom.ports.command import Command
from taskloom.ports.engine import ExternalTask
from taskloom.providers.files.read import read_folder
from taskloom.testing.adapters import read_by

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = re.compile(r"<\?xml .*?</bpmn:definitions>", re.DOTALL)
FOLDERS = [
    "quickstart",
    "command-python/resources",
    "command-http/resources",
    "http-source/resources",
    "format-adapter/resources",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_manifest_is_accepted(folder: str) -> None:
    """Nothing in a folder of resources is refused or left aside."""
    snapshot = read_folder(EXAMPLES / folder)

    assert snapshot.resources
    assert ((), ()) == (snapshot.problems, snapshot.notes)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("**/*.yaml")), ids=lambda path: path.stem)
def test_every_model_is_whole(file: Path) -> None:
    """Each element of a model has its place in the diagram, and the engine runs them all."""
    for text in MODEL.findall(file.read_text()):
        ids = set(re.findall(r"<bpmn:(?!process|error|message)\w+ id=\"(\w+)\"", text))
        drawn = set(re.findall(r"bpmnElement=\"(\w+)\"", text))
        events = set(re.findall(r"<bpmn:\w+EventDefinition id=\"(\w+)\"", text))

        process = parse_bpmn(text.encode())

        assert ids - events == drawn - {process.id}


def _module(example: str, name: str) -> Any:
    """Load an example's package."""
    source = EXAMPLES / example / "src" / name / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _choose_approver() -> Command:
    """Load the example's command as its entry point would."""
    command: Command = _module("command-python", "approvers").ChooseApprover()
    return command


def _task(**variables: Any) -> ExternalTask:
    return ExternalTask(
        id="e1",
        topic="choose-approver",
        element_id="Activity_Choose",
        instance_id="i1",
        root_instance_id="i1",
        workflow_key="purchase-plan",
        business_key=None,
        variables=variables,
        retries=None,
    )


@pytest.mark.parametrize(
    ("amount", "approver"), [(1, "managers"), (10_000, "managers"), (10_000.5, "board")]
)
async def test_the_python_command_chooses(amount: float, approver: str) -> None:
    """It decides by the amount."""
    result = await _choose_approver().execute(_task(amount=amount))

    assert {"approver": approver} == result.variables


async def test_the_python_command_takes_the_error_path() -> None:
    """Too much is an error that the model catches; nonsense is an incident."""
    with pytest.raises(BpmnError) as caught:
        await _choose_approver().execute(_task(amount=100_001))

    assert caught.value.error_code == "TOO_EXPENSIVE"
    for variables in ({}, {"amount": "much"}, {"amount": True}):
        with pytest.raises(Invalid):
            await _choose_approver().execute(_task(**variables))


@pytest.mark.parametrize("file", sorted((EXAMPLES / "events").iterdir()), ids=lambda p: p.stem)
def test_every_event_is_mapped(file: Path) -> None:
    """An example's event has a mapping in one of the folders."""
    key = json.loads(file.read_text())["key"]
    mapped = {
        declared.resource.spec.event_key
        for folder in FOLDERS
        for declared in read_folder(EXAMPLES / folder).resources
        if declared.resource.kind == "EventMapping"
    }

    assert key in mapped


@pytest.mark.parametrize(("left", "key"), [("4", "stock.low"), ("5", "stock.changed")])
def test_the_format_adapter_reads_a_row(left: str, key: str) -> None:
    """It decides by what is left."""
    read_stock: Adapter = _module("format-adapter", "stock_rows").read_stock

    event = read_by(read_stock, f'A7,"desk, oak",{left}\n'.encode(), {"X-Warehouse": "north"})

    assert (key, "north") == (event.key, event.source)
    assert {"sku": "A7", "name": "desk, oak", "left": int(left)} == json.loads(event.payload)


@pytest.mark.parametrize(
    "body", [b"", b"A7,desk", b"A7,desk,many", b"A7,desk,1\nA8,chair,1", b"\xff,,1", b"a,b,-1"]
)
def test_the_format_adapter_says_what_a_row_lacks(body: bytes) -> None:
    """In its own words, never by breaking."""
    read_stock: Adapter = _module("format-adapter", "stock_rows").read_stock

    with pytest.raises(Invalid) as caught:
        read_by(read_stock, body)

    assert "broke" not in caught.value.message


def test_the_format_adapter_of_the_page_is_tested_as_it_says(tmp_path: Path) -> None:
    """Its code is run, with the lines that test it."""
    page = EXAMPLES.parent / "docs" / "how-to" / "write-a-format-adapter.md"
    code, check = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    script = tmp_path / "page.py"
    script.write_text(code + check)

    event = runpy.run_path(str(script))["event"]

    assert {"sku": "A7", "name": "desk", "left": 2} == json.loads(event.payload)
