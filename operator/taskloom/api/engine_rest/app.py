"""The paths below /engine-rest: who may call each, and every error in Camunda's form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taskloom.api.bodies import check_json, header_map, read_body
from taskloom.api.door import json_response
from taskloom.api.engine_rest import (
    definitions,
    deployments,
    external_tasks,
    fetching,
    instances,
    jobs,
    messages,
    user_tasks,
)
from taskloom.api.engine_rest.call import ROOT, Call, Handler, answer, hung_up
from taskloom.api.engine_rest.entry import enter
from taskloom.api.engine_rest.faults import Fault, fault_of
from taskloom.api.problems import incident
from taskloom.api.services import ApiServices
from taskloom.domain.permissions import Permission
from taskloom.errors import TaskloomError

_DEFAULT = f"{ROOT}/engine/default"
_FORM = "/deployment/create"
_GUIDE = "docs/reference/engine-rest.md lists what is offered"
NOT_HOSTED = (
    "Taskloom runs its workflows on an engine that has a REST API of its own: "
    "point workers at that engine's /engine-rest."
)


async def get_version(_call: Call) -> Response:
    """Tell the version."""
    return answer({"version": version("taskloom")})


async def list_engines(_call: Call) -> Response:
    """List the only engine there is."""
    return answer([{"name": "default"}])


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One path with its methods; `pattern` matches what comes after the root."""

    template: str
    pattern: re.Pattern[str]
    methods: Mapping[str, tuple[Permission, Handler]]


def way(template: str, permission: Permission, **methods: Handler) -> Way:
    """Declare a path; ``{name}`` in the template is a part of it."""
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
    return Way(
        template=template,
        pattern=pattern,
        methods={method: (permission, handler) for method, handler in methods.items()},
    )


_WORK = Permission.WORK_ON_EXTERNAL_TASKS
_DEFINED = Permission.VIEW_WORKFLOWS
_START = Permission.EXECUTE_WORKFLOWS
_VIEW = Permission.VIEW_INSTANCES
_CONTROL = Permission.CONTROL_INSTANCES
_TASKS = Permission.VIEW_USER_TASKS

WAYS: tuple[Way, ...] = (
    way("/version", _WORK, GET=get_version),
    way("/engine", _WORK, GET=list_engines),
    way("/external-task/fetchAndLock", _WORK, POST=fetching.fetch_and_lock),
    way("/external-task/count", _WORK, GET=external_tasks.count, POST=external_tasks.count),
    way("/external-task", _WORK, GET=external_tasks.list_, POST=external_tasks.list_),
    way("/external-task/{id}", _WORK, GET=external_tasks.get),
    way("/external-task/{id}/complete", _WORK, POST=external_tasks.complete),
    way("/external-task/{id}/failure", _WORK, POST=external_tasks.fail),
    way("/external-task/{id}/bpmnError", _WORK, POST=external_tasks.throw),
    way("/external-task/{id}/extendLock", _WORK, POST=external_tasks.extend_lock),
    way("/external-task/{id}/lock", _WORK, POST=external_tasks.lock),
    way("/external-task/{id}/unlock", _WORK, POST=external_tasks.unlock),
    way("/external-task/{id}/errorDetails", _WORK, GET=external_tasks.get_error_details),
    way("/external-task/{id}/retries", _CONTROL, PUT=external_tasks.set_retries),
    way("/process-definition", _DEFINED, GET=definitions.list_),
    way("/process-definition/count", _DEFINED, GET=definitions.count),
    way("/process-definition/key/{key}", _DEFINED, GET=definitions.get),
    way("/process-definition/key/{key}/xml", _DEFINED, GET=definitions.get_xml),
    way("/process-definition/key/{key}/start", _START, POST=definitions.start),
    way("/process-definition/{id}", _DEFINED, GET=definitions.get),
    way("/process-definition/{id}/xml", _DEFINED, GET=definitions.get_xml),
    way("/process-definition/{id}/start", _START, POST=definitions.start),
    way("/deployment", _DEFINED, GET=definitions.list_deployments),
    way(_FORM, Permission.CREATE_WORKFLOWS, POST=deployments.create),
    Way(
        template="/deployment/{id}",
        pattern=re.compile(r"/deployment/(?P<id>[^/]+)"),
        methods={
            "GET": (_DEFINED, definitions.get_deployment),
            "DELETE": (Permission.DELETE_WORKFLOWS, deployments.delete),
        },
    ),
    way("/message", _START, POST=messages.correlate),
    way("/signal", _START, POST=messages.signal),
    way("/task", _TASKS, GET=user_tasks.list_, POST=user_tasks.list_),
    way("/task/count", _TASKS, GET=user_tasks.count, POST=user_tasks.count),
    way("/task/{id}", _TASKS, GET=user_tasks.get),
    way("/task/{id}/identity-links", _TASKS, GET=user_tasks.get_identity_links),
    way("/task/{id}/variables", _TASKS, GET=user_tasks.get_variables),
    way("/task/{id}/complete", Permission.COMPLETE_USER_TASKS, POST=user_tasks.complete),
    way("/process-instance", _VIEW, GET=instances.list_, POST=instances.list_),
    way("/process-instance/count", _VIEW, GET=instances.count, POST=instances.count),
    Way(
        template="/process-instance/{id}",
        pattern=re.compile(r"/process-instance/(?P<id>[^/]+)"),
        methods={"GET": (_VIEW, instances.get), "DELETE": (_CONTROL, instances.delete)},
    ),
    way("/process-instance/{id}/variables", _VIEW, GET=instances.get_variables),
    way("/process-instance/{id}/variables/{name}", _VIEW, GET=instances.get_variable),
    way("/history/process-instance", _VIEW, GET=instances.list_past, POST=instances.list_past),
    way(
        "/history/process-instance/count",
        _VIEW,
        GET=instances.count_past,
        POST=instances.count_past,
    ),
    way("/history/process-instance/{id}", _VIEW, GET=instances.get_past),
    way(
        "/history/activity-instance",
        _VIEW,
        GET=instances.list_activities,
        POST=instances.list_activities,
    ),
    way(
        "/history/activity-instance/count",
        _VIEW,
        GET=instances.count_activities,
        POST=instances.count_activities,
    ),
    way("/incident", _VIEW, GET=instances.list_incidents),
    way("/incident/count", _VIEW, GET=instances.count_incidents),
    way("/incident/{id}", _VIEW, GET=instances.get_incident),
    way(
        "/history/variable-instance",
        _VIEW,
        GET=instances.list_variables,
        POST=instances.list_variables,
    ),
    way(
        "/history/variable-instance/count",
        _VIEW,
        GET=instances.count_variables,
        POST=instances.count_variables,
    ),
    way("/job/{id}/retries", _CONTROL, PUT=jobs.set_retries),
)


class EngineRest:
    """The ASGI application; measured by the templates of its paths."""

    def __init__(self, services: ApiServices) -> None:
        """Work with these."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._answer(scope, receive)
        except Fault as exc:
            response = _refuse(exc)
        except TaskloomError as exc:
            response = _refuse(fault_of(exc))
        except Exception as exc:  # noqa: BLE001 - the rim: told by a number, logged in full
            problem = incident(exc, scope["path"])
            response = _refuse(Fault(500, "ProcessEngineException", problem.detail))
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        services, hosted = self._services, self._services.hosted
        if hosted is None:
            raise Fault(404, "NotFoundException", NOT_HOSTED)
        path, headers = _path(scope["path"]), header_map(scope)
        permission, handler, parts = _find(path, scope, scope["method"])
        principal = await enter(services, headers, permission)
        content = await read_body(receive, headers, services.max_body_bytes)
        if content and path != _FORM:
            check_json(headers)
        call = Call(
            services=services,
            host=hosted.engine,
            room=hosted.room,
            notes=hosted.notes,
            own_topics=hosted.own_topics,
            principal=principal,
            headers=headers,
            path=parts,
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            content=content,
            address=f"{scope['scheme']}://{headers.get('host', 'localhost')}{ROOT}",
            gone=partial(hung_up, receive),
        )
        return await handler(call)


def _path(path: str) -> str:
    """Give what comes after the root; the engine may be named, if it is called default."""
    for prefix in (_DEFAULT, ROOT):
        if path == prefix or path.startswith(f"{prefix}/"):
            rest = path.removeprefix(prefix)
            if rest or prefix == ROOT:
                return rest.rstrip("/")
    return path


def _find(path: str, scope: Scope, method: str) -> tuple[Permission, Handler, Mapping[str, str]]:
    allowed: set[str] = set()
    for each in WAYS:
        match = each.pattern.fullmatch(path)
        if match is None:
            continue
        if method in each.methods:
            scope["route"] = _Route(f"{ROOT}{each.template}")
            permission, handler = each.methods[method]
            return permission, handler, match.groupdict()
        allowed |= set(each.methods)
    if allowed:
        headers = {"allow": ", ".join(sorted(allowed))}
        message = "HTTP 405 Method Not Allowed"
        raise Fault(405, "NotAllowedException", message, None, headers)
    raise Fault(404, "NotFoundException", f"HTTP 404 Not Found: {_GUIDE}")


@dataclass(frozen=True, slots=True)
class _Route:
    """How a path is counted."""

    path_format: str


def _refuse(fault: Fault) -> Response:
    return json_response(fault.body(), fault.status, headers=fault.headers)
