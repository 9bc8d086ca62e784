"""What Argo CD makes of our conditions, by the program that the guide gives it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import LuaRuntime

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "argo-cd.md"


def program() -> str:
    """Read the program out of the values that the guide shows."""
    (block,) = re.findall(r"```yaml\n(configs:.*?)```", GUIDE.read_text(), re.DOTALL)
    customizations = yaml.safe_load(block)["configs"]["cm"]["resource.customizations"]
    text: str = yaml.safe_load(customizations)["taskloom.dev/*"]["health.lua"]
    return text


def judge(status: dict[str, Any] | None) -> tuple[str, str]:
    """Run it on an object of generation 2: status and message."""
    lua = LuaRuntime()
    document: dict[str, Any] = {"metadata": {"generation": 2}}
    if status is not None:
        document["status"] = status
    lua.globals().obj = lua.table_from(document, recursive=True)
    health = lua.execute(program())
    return health.status, health.message


def condition(type_: str, status: str, reason: str, generation: int = 2) -> dict[str, Any]:
    """Write a condition."""
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": f"it is {reason}",
        "observedGeneration": generation,
    }


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([condition("Ready", "True", "Reconciled")], "Healthy"),
        (
            [condition("Ready", "True", "Suspended"), condition("Suspended", "True", "Suspended")],
            "Healthy",
        ),
        ([condition("Ready", "True", "Reconciled", generation=1)], "Progressing"),
        ([condition("Ready", "False", "InvalidSpec")], "Degraded"),
        ([condition("Ready", "False", "KeyConflict")], "Degraded"),
        ([condition("Ready", "False", "DisabledAfterFailures")], "Degraded"),
        ([condition("Ready", "False", "SecretNotFound")], "Progressing"),
        ([condition("Ready", "False", "WorkflowNotFound")], "Progressing"),
        ([condition("Ready", "Unknown", "DatabaseUnavailable")], "Progressing"),
        ([condition("Accepted", "True", "Reconciled")], "Progressing"),
        ([], "Progressing"),
    ],
)
def test_health_follows_the_conditions(conditions: list[dict[str, Any]], expected: str) -> None:
    """Ready is healthy, what needs another spec is degraded, what may still come progresses."""
    status, message = judge({"conditions": conditions})

    assert expected == status
    if status != "Progressing":
        assert message == conditions[0]["message"]


def test_an_object_that_nobody_has_seen_progresses() -> None:
    """There is no status before the controller has written one."""
    assert judge(None) == ("Progressing", "Waiting for Taskloom")
    assert judge({}) == ("Progressing", "Waiting for Taskloom")
