"""/livez, /readyz, /healthz, /version and /metrics: what is asked about the process rather than about objects."""

from __future__ import annotations

import asyncio
import json
import platform
import re
from collections.abc import Awaitable, Callable, Mapping

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from app.api.exposition import Exposition
from app.machinery.go_json import quoted
from app.store.base import StoreError

log = structlog.get_logger()

Check = Callable[[], Awaitable[None]]
"""Returns when all is well; raises OSError, RuntimeError, TimeoutError or StoreError when it is not."""

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
"""kube-apiserver tells how it is whatever the method."""

CHECK_S = 5.0
"""What a check may take: a probe that waits longer has given up already."""


def routes(version: str, checks: Mapping[str, Check], exposition: Exposition) -> APIRouter:
    """The routes. Only /version and /metrics are there with a trailing slash, too; only /version minds the method."""
    router = APIRouter()
    document = version_document(version)

    async def get_version() -> Response:
        # As kube-apiserver writes it: for people, whoever asks.
        shown = json.dumps(document, indent=2)
        return Response(shown, media_type="application/json", headers={"cache-control": "no-cache, private"})

    async def get_metrics(request: Request) -> Response:
        text, type_ = await exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": type_})

    for path, answer, methods in (("/version", get_version, ["GET"]), ("/metrics", get_metrics, METHODS)):
        router.add_api_route(path, answer, methods=methods, include_in_schema=False)
        router.add_api_route(f"{path}/", answer, methods=methods, include_in_schema=False)
    # A process that answers is alive: losing the database is no reason to start it again.
    for name, asked in (("livez", {}), ("readyz", checks), ("healthz", checks)):
        health = _Health(name, asked)
        router.add_api_route(f"/{name}", health.all, methods=METHODS, include_in_schema=False)
        router.add_api_route(f"/{name}/{{check:path}}", health.one, methods=METHODS, include_in_schema=False)
    return router


async def _ping() -> None:
    """That it was called is what it says."""


def _text(text: str, code: int = 200) -> Response:
    return PlainTextResponse(text, code, {"cache-control": "no-cache, private", "x-content-type-options": "nosniff"})


_FINE = {"cache-control": "no-cache, private"}


def _line(name: str, well: bool | None) -> str:
    """What became of a check; None: it was left out."""
    if well is None:
        return f"[+]{name} excluded: ok"
    return f"[+]{name} ok" if well else f"[-]{name} failed: reason withheld"


class _Health:
    """One of the health paths."""

    def __init__(self, name: str, checks: Mapping[str, Check]) -> None:
        self._name = name
        self._checks = {"ping": _ping, **checks}

    async def all(self, request: Request) -> Response:
        excluded = set(request.query_params.getlist("exclude"))
        asked = [name for name in self._checks if name not in excluded]
        well = dict(zip(asked, await asyncio.gather(*(self._is_well(name) for name in asked)), strict=True))
        if all(well.values()) and "verbose" not in request.query_params:
            return _text("ok")
        lines = [_line(name, well.get(name)) for name in self._checks]
        if unknown := sorted(excluded - self._checks.keys()):
            lines.append(
                f"warn: some health checks cannot be excluded: no matches for {', '.join(map(quoted, unknown))}"
            )
        fine = all(well.values())
        lines.append(f"{self._name} check {'passed' if fine else 'failed'}")
        return _text("\n".join(lines) + "\n", 200 if fine else 500)

    async def one(self, check: str) -> Response:
        if check not in self._checks:
            return _text("404 page not found\n", 404)
        if await self._is_well(check):
            return PlainTextResponse("ok", headers=_FINE)
        return _text(f"internal server error: {check} failed: reason withheld\n", 500)

    async def _is_well(self, name: str) -> bool:
        try:
            async with asyncio.timeout(CHECK_S):
                await self._checks[name]()
        except (OSError, RuntimeError, TimeoutError, StoreError) as error:
            log.warning("health check failed", path=self._name, check=name, error=repr(error))
            return False
        return True


def version_document(version: str) -> dict[str, str]:
    """version.Info; major and minor are read out of the version itself."""
    major, minor = re.findall(r"\d+", version)[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": version,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{_ARCHITECTURES.get(platform.machine(), platform.machine())}",
    }


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
