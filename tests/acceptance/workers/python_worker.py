"""A worker on camunda-external-task-client-python3: fails once, then raises a BPMN error."""

import os

from camunda.external_task.external_task import ExternalTask, TaskResult
from camunda.external_task.external_task_worker import ExternalTaskWorker

outcomes = ["fail", "throw"]


def act(task: ExternalTask) -> TaskResult:
    """Do what is next."""
    if outcomes.pop(0) == "fail":
        return task.failure("no answer", "a long story", max_retries=3, retry_timeout=0)
    return task.bpmn_error("DECLINED", "no money", {"why": "limit"})


worker = ExternalTaskWorker(
    "python",
    base_url=os.environ["ENGINE_URL"],
    config={
        "auth_basic": {"username": os.environ["API_KEY"], "password": os.environ["API_SECRET"]},
        "maxTasks": 1,
        "asyncResponseTimeout": 20_000,
    },
)
while outcomes:
    worker.fetch_and_execute("pay-order", act)
