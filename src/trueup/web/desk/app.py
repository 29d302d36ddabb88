"""The application of the desk: who may enter, the API, and the pages, behind one guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from trueup import __version__
from trueup.errors import TrueupError
from trueup.web.access.guard import Guard
from trueup.web.access.problems import Problem, problem_of
from trueup.web.api import configuration, deciding, docs, jobs, looking, people, setting_up
from trueup.web.desk import entering, printed

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from trueup.web.desk.place import Place


def build(place: Place) -> FastAPI:
    """The application without its guard: tests ask it which routes there are."""
    app = FastAPI(title="trueup", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.place = place
    app.state.jobs = jobs.Jobs()
    for one in (entering, printed, looking, deciding, jobs, configuration, setting_up, people, docs):
        app.router.routes.extend(one.router.routes)  # each as it is, so that a test finds every one and asks it who may
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(TrueupError, _ours)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    return app


def guarded(app: FastAPI) -> ASGIApp:
    """The application as it is served."""
    place: Place = app.state.place
    return Guard(app, place.store, place.clock)


async def _problem(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, Problem)
    return error.response()


async def _ours(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, TrueupError)
    return problem_of(error).response()


async def _not_valid(request: Request, error: Exception) -> Response:
    """What is wrong where, without the values: they may be of a record."""
    del request
    assert isinstance(error, RequestValidationError)
    wrong = [{"at": "/".join(str(part) for part in one["loc"]), "message": one["msg"]} for one in error.errors()]
    return Problem(422, "the request is not as it should be", kind="not-valid", errors=wrong).response()


async def _http(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    answer = Problem(error.status_code, str(error.detail)).response()
    answer.headers.update(dict(error.headers or {}))
    return answer
