"""A JSON service with FastAPI: concurrent requests share one continuously refilled batch.

    pip install '.[service]'
    uvicorn --app-dir examples/service app:app --port 8080
    curl localhost:8080/solve -H 'content-type: application/json' \
        -d '{"puzzle": "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"}'

Set by environment variables: see `Settings`. Documentation of the interface: /docs.
"""  # noqa: E501

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trm_sdk import AsyncSolver, Solution, SolveOptions, TRMError
from trm_sdk.choices import Explore
from trm_sdk.solution import StoppedBy


class Settings(BaseModel):
    """What the service runs, and what a caller may ask of it: TRM_MODEL, TRM_THREADS, ..."""

    model: str = "sudoku"
    threads: int | None = None
    batch_size: int | None = None
    max_seconds: float = Field(10.0, gt=0)  # that a puzzle may take
    max_attempts: int = Field(2048, ge=1)
    max_waiting: int = Field(256, ge=1)  # requests in flight; more are told to come again
    max_body: int = Field(100_000, ge=1)  # bytes

    @classmethod
    def from_environment(cls) -> Settings:
        """Return the settings, with what the environment says."""
        names = {name: f"TRM_{name.upper()}" for name in cls.model_fields}
        given = {name: os.environ[key] for name, key in names.items() if os.environ.get(key)}
        return cls.model_validate(given)


class Options(BaseModel):
    """What a caller may choose; see `trm_sdk.SolveOptions`. Left out: the model's own defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int | None = Field(None, ge=1, le=1000)
    attempts: int | None = Field(None, ge=1)
    explore: Explore | None = None
    seconds: float | None = Field(None, gt=0)
    seed: int | None = Field(None, ge=0)


class PuzzleRequest(BaseModel):
    """A puzzle, as text or as rows of numbers."""

    model_config = ConfigDict(extra="forbid")

    puzzle: str | list[list[int | str | None]]
    options: Options = Field(default_factory=Options)


class SolutionReply(BaseModel):
    """The answer, and how far it can be relied on: look at `verified` first."""

    model_config = ConfigDict(extra="forbid")

    answer: str
    grid: list[list[int]]
    verified: bool | None  # by the rules of the puzzle; null where it has none
    confidence: float
    steps: int
    attempts: int
    seconds: float
    stopped_by: StoppedBy


class Problem(BaseModel):
    """What was wrong, in one sentence."""

    error: str


class Metrics:
    """What /metrics tells Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of = {"registry": self.registry}
        self.replies = Counter("trm_replies", "Requests answered, by status.", ["status"], **of)
        self.solved = Counter("trm_solved", "Puzzles, by why they ended.", ["stopped_by"], **of)
        self.seconds = Histogram("trm_seconds", "From request to reply.", **of)
        self.in_flight = Gauge("trm_in_flight", "Requests that wait for an answer.", **of)


#: Seconds after which a thread of Python must let another that waits have its turn. The model's
#: thread gives up the interpreter's lock for every few rows and wants it back 3 ms later. With the
#: default of 5 ms it waits longer for a busy event loop than these rows took: a fifth of the rate.
SWITCH_INTERVAL = 1e-4


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application; it loads its model when it starts."""
    settings = settings or Settings.from_environment()
    metrics = Metrics()
    waiting = 0

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(SWITCH_INTERVAL)
        async with AsyncSolver.from_pretrained(
            settings.model, threads=settings.threads, batch_size=settings.batch_size
        ) as app.state.solver:
            yield

    app = FastAPI(title="trm-sdk", summary="Solves puzzles.", lifespan=lifespan)
    app.add_middleware(Border, metrics=metrics, largest=settings.max_body)

    @app.exception_handler(TRMError)
    async def refused(_: Request, error: TRMError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(StarletteHTTPException)
    async def failed(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return error_reply(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        hint = ""
        if first["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
            hint = "; send it with content-type: application/json"  # curl -d says it is a form
        return JSONResponse({"error": f"{where}: {first['msg']}{hint}"}, 422)

    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem} for status in (413, 422, 503)
    }

    @app.post("/solve", response_model=SolutionReply, responses=problems)
    async def solve(request: PuzzleRequest) -> Response:
        """Solve one puzzle."""
        nonlocal waiting
        if waiting >= settings.max_waiting:
            raise HTTPException(503, "too many requests are waiting", {"Retry-After": "1"})
        solver: AsyncSolver = app.state.solver
        waiting += 1
        try:
            defaults = solver.solver.options
            options = bounded(request.options, settings, defaults)
            solution = await solver.solve(request.puzzle, options)
        finally:
            waiting -= 1
        metrics.solved.labels(solution.stopped_by).inc()
        return reply_of(solution)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Say that the service is up, and what it runs."""
        domain = app.state.solver.solver.domain.name
        return {"status": "ok", "model": settings.model, "domain": domain, "waiting": waiting}

    @app.get("/metrics", include_in_schema=False)
    async def tell() -> Response:
        text = exposition.generate_latest(metrics.registry)
        return Response(text, media_type=exposition.CONTENT_TYPE_LATEST)

    return app


def reply_of(solution: Solution) -> Response:
    """Return a solution as `SolutionReply` describes it.

    As JSON at once: FastAPI would check every reply against the model, which takes as long as
    everything else that it does, on the thread that all requests share. (A test checks them.)
    """
    facts = {
        "answer": solution.domain.to_line(solution.grid),
        "grid": solution.grid.tolist(),
        "verified": solution.verified,
        "confidence": solution.confidence,
        "steps": solution.steps,
        "attempts": solution.attempts,
        "seconds": solution.seconds,
        "stopped_by": solution.stopped_by,
    }
    return Response(json.dumps(facts, separators=(",", ":")), media_type="application/json")


def bounded(options: Options, settings: Settings, defaults: SolveOptions) -> SolveOptions:
    """Return what a caller asked for, or the model's defaults, within what the service allows."""
    limits = (settings.max_seconds, settings.max_attempts)
    return _bounded(options, *limits, defaults.attempts)


@lru_cache(maxsize=1024)
def _bounded(
    options: Options, max_seconds: float, max_attempts: int, attempts: int
) -> SolveOptions:
    given = options.model_dump(exclude_none=True)
    given["seconds"] = min(given.get("seconds", max_seconds), max_seconds)
    if given.get("attempts", attempts) > max_attempts:
        given["attempts"] = max_attempts
    return SolveOptions(**given)


class Border:
    """ASGI middleware: counts and times requests, and refuses bodies that are too large."""

    def __init__(self, app: ASGIApp, metrics: Metrics, largest: int) -> None:
        self.app, self.metrics, self.largest = app, metrics, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, watching what it sends and what it is sent."""
        if scope["type"] != "http" or scope["path"] != "/solve":
            await self.app(scope, receive, send)
            return
        too_large = HTTPException(413, f"a body has at most {self.largest} bytes")
        left = self.largest

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise too_large
            return message

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.replies.labels(message["status"]).inc()
            await send(message)

        with self.metrics.in_flight.track_inprogress(), self.metrics.seconds.time():
            announced = dict(scope["headers"]).get(b"content-length", b"0")
            if len(announced) > 18 or int(announced) > self.largest:  # before it is sent
                await error_reply(too_large)(scope, counted, noted)
            else:
                await self.app(scope, counted, noted)


def error_reply(error: StarletteHTTPException) -> JSONResponse:
    """Return an error of HTTP as one sentence."""
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


app = create_app()
