"""The HTTP application: its routes, and what surrounds them all."""

from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from taskloom.api import (
    client_apps,
    dead_letters,
    deliveries,
    docs_page,
    events,
    health,
    mappings,
    metrics,
    operations,
    tasks,
    user_tasks,
    webhooks,
    workflows,
)
from taskloom.api.bodies import BodyLimit
from taskloom.api.engine_rest.app import EngineRest
from taskloom.api.engine_rest.call import ROOT as ENGINE_REST
from taskloom.api.metrics import Measured, RequestMetrics
from taskloom.api.openapi import describe
from taskloom.api.problems import Problems, answer_framework_errors
from taskloom.api.services import ApiServices, Watched
from taskloom.api.sources import ROUTE, SourceDoor
from taskloom.api.trigger import PATH, Trigger
from taskloom.domain.sources import PREFIX

_ROUTERS: tuple[APIRouter, ...] = (
    events.router,
    dead_letters.router,
    deliveries.router,
    mappings.router,
    tasks.router,
    user_tasks.router,
    client_apps.router,
    webhooks.router,
    workflows.router,
    operations.router,
    health.router,
    metrics.router,
    docs_page.router,
)


class _Described(FastAPI):
    """An application that describes itself completely."""

    def openapi(self) -> dict[str, Any]:
        """Give the description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def make_api() -> FastAPI:
    """Make the application without the services that its routes work with."""
    app = _Described(title="Taskloom", docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in _ROUTERS:
        app.include_router(router)
    answer_framework_errors(app, _allowed)
    return app


def create_app(services: ApiServices) -> ASGIApp:
    """Make the whole HTTP door: the fast path for events before everything else."""
    app = make_api()
    app.state.services = services
    app.state.watched = Watched(
        checks=services.checks, stuck=services.stuck, registry=services.registry
    )
    app.add_middleware(BodyLimit, limit=services.max_body_bytes)
    app.add_middleware(Problems)
    counted = RequestMetrics(services.registry)
    return _Front(
        Measured(app, counted),
        trigger=Measured(Problems(Trigger(services)), counted, route=PATH),
        sources=Measured(Problems(SourceDoor(services)), counted, route=ROUTE),
        engine_rest=Measured(EngineRest(services), counted),
    )


def create_health_app(watched: Watched) -> ASGIApp:
    """Create the door of a process that serves no API: health, readiness and metrics only."""
    app = FastAPI(title="Taskloom", openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.state.watched = watched
    return app


def _allowed(path: str) -> list[str]:
    """List the methods that a path takes; none if there is no such path."""
    if path == PATH:
        return ["POST"]
    routes = [route for router in _ROUTERS for route in router.routes if isinstance(route, Route)]
    return sorted(
        {
            method
            for route in routes
            if route.path_regex.match(path)
            for method in route.methods or ()
        }
    )


class _Front:
    """Sends events their short ways, workers to theirs, all else through the framework."""

    def __init__(
        self, app: ASGIApp, *, trigger: ASGIApp, sources: ASGIApp, engine_rest: ASGIApp
    ) -> None:
        self._app = app
        self._trigger = trigger
        self._sources = sources
        self._engine_rest = engine_rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        way = self._app
        if scope["type"] == "http":
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}  # the server leaves the body out
            if scope["path"] == PATH and scope["method"] == "POST":
                way = self._trigger
            elif scope["path"].startswith(f"{PREFIX}/"):
                way = self._sources
            elif scope["path"] == ENGINE_REST or scope["path"].startswith(f"{ENGINE_REST}/"):
                way = self._engine_rest
        await way(scope, receive, send)
