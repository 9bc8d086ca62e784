"""What the doctor finds, and that each thing that is wrong has a remedy."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskloom.cli.database_findings import (
    incident_findings,
    job_findings,
    resource_findings,
    subscription_findings,
)
from taskloom.cli.findings import Finding, Level, data_dir_findings
from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import DeliveryOptions, Subscription, Target
from taskloom.ids import new_id
from taskloom.ports.engine import Incident
from taskloom.store.resources import StoredResource

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def _only(findings: Iterable[Finding]) -> Finding:
    [finding] = findings
    return finding


def _levels(findings: Iterable[Finding]) -> list[Level]:
    found = list(findings)
    assert all(finding.remedy for finding in found if finding.level is Level.WRONG)
    return [finding.level for finding in found]


def test_a_folder_that_can_be_made_is_only_noted(tmp_path: Path) -> None:
    """Before the first start there is no data folder, and nothing wrong with that."""
    assert [Level.NOTE] == _levels(data_dir_findings(tmp_path / "a" / "b", uid=os.geteuid()))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Something else in its place is wrong."""
    (tmp_path / "data").write_text("")

    assert [Level.WRONG] == _levels(data_dir_findings(tmp_path / "data", uid=0))


def test_secrets_that_others_may_read_are_named(tmp_path: Path) -> None:
    """Each loose file has its own remedy; tight ones are fine."""
    credentials = tmp_path / "credentials" / "default" / "shop-credentials"
    credentials.mkdir(parents=True)
    for path, mode in (
        (tmp_path / "jwt.secret", 0o640),
        (tmp_path / "encryption.keys", 0o600),
        (credentials / "apiSecret", 0o604),
    ):
        path.write_text("x")
        path.chmod(mode)

    findings = list(data_dir_findings(tmp_path, uid=os.geteuid()))

    assert [Level.WRONG, Level.WRONG] == _levels(findings)
    assert {f"chmod 600 {tmp_path / 'jwt.secret'}", f"chmod 600 {credentials / 'apiSecret'}"} == {
        finding.remedy for finding in findings
    }


def _resource(*conditions: tuple[str, str, str]) -> StoredResource:
    told = [
        {"type": type_, "status": status, "reason": reason, "message": "see there"}
        for type_, status, reason in conditions
    ]
    status: dict[str, Any] = {"conditions": told}
    return StoredResource(
        kind="Workflow",
        namespace="default",
        name="order",
        generation=1,
        digest="x",
        spec={},
        status=status,
        place="order.yaml:3",
        created_on=NOW,
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("Ready", "True", "Reconciled"), Level.OK),
        (("Ready", "True", "Suspended"), Level.OK),
        (("Ready", "False", "InvalidSpec"), Level.WRONG),
        (("TopicsServed", "False", "TopicsUnserved"), Level.WRONG),
        (("Degraded", "True", "Unsupported"), Level.NOTE),
    ],
)
def test_resources_are_judged_by_their_conditions(
    condition: tuple[str, str, str], expected: Level
) -> None:
    """What is not in force is wrong; what is suspended on purpose is not."""
    assert [expected] == _levels(resource_findings([_resource(condition)]))


def test_a_bad_resource_is_named_with_its_place() -> None:
    """Kind, name, reason, message, file and line."""
    found = _only(resource_findings([_resource(("Ready", "False", "InvalidSpec"))]))

    assert (
        "Workflow default/order is not Ready: InvalidSpec: see there (order.yaml:3)"
        == found.message
    )


def test_jobs_that_were_given_up_are_wrong() -> None:
    """Waiting ones are not."""
    assert [Level.OK] == _levels(job_findings({("start-process", "ready"): 3}))
    assert [Level.WRONG] == _levels(
        job_findings({("start-process", "dead"): 2, ("start-process", "ready"): 3})
    )


def test_many_incidents_are_summed_up() -> None:
    """The first few are told one by one."""
    incidents = [
        Incident(
            id=str(number),
            instance_id="i",
            root_instance_id="r",
            element_id="Task_1",
            message="no such task",
            created_at=NOW,
        )
        for number in range(7)
    ]

    found = list(incident_findings(incidents))

    assert 6 == len(found)
    assert "2 more instances stopped." == found[-1].message
    assert [Level.OK] == _levels(incident_findings([]))


def test_disabled_subscriptions_are_wrong() -> None:
    """They are told nothing any more."""
    subscription = Subscription(
        id=new_id(),
        client_id=new_id(),
        event_keys=("*",),
        filter=None,
        target=Target(url=Secret("https://example.com/secret-path")),
        host="example.com",
        scheme="Both",
        delivery=DeliveryOptions(),
        suspended=False,
        disabled_at=NOW,
        disabled_reason="gone",
        managed_by="api",
        created_on=NOW,
    )

    found = _only(subscription_findings([subscription]))

    assert found.level is Level.WRONG
    assert "example.com was disabled: gone" in found.message
    assert "secret-path" not in found.message
