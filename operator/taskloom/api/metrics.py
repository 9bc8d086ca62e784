"""What is counted about requests, by route template; and /metrics, where all that is shown."""

import time
from collections.abc import Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client import generate_latest as print_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskloom.api.services import Process

router = APIRouter(tags=["operation"])

_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """The counters of the HTTP door."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self._requests = Counter(
            "taskloom_http_requests",
            "Requests answered, by method, route and status.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "taskloom_http_request_seconds",
            "Time to answer, by method and route.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        # looking labels up costs as much as counting; there are few of them
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def record(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; methods and routes that strangers made up share one label."""
        labels = (method if method in _METHODS else "other", route, status)
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = (
                self._requests.labels(labels[0], route, str(status)),
                self._seconds.labels(labels[0], route),
            )
        series[0].inc()
        series[1].observe(seconds)


class Measured:
    """Counts what `app` answers; `route` names it, or the router's template does."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: RequestMetrics,
        *,
        route: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Wrap `app`."""
        self._app = app
        self._metrics = metrics
        self._route = route
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        status = 499  # gone before an answer

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = self._route or str(getattr(scope.get("route"), "path_format", "unknown"))
            self._metrics.record(scope["method"], route, status, self._clock() - began)


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def get_metrics(process: Process) -> Response:
    """Show every metric of this process in Prometheus' text format."""
    return Response(print_metrics(process.registry), media_type=CONTENT_TYPE_LATEST)
