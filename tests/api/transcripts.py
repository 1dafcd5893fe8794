"""Transcripts of kubectl: what was typed, the requests that the server saw, what was printed, and how it ended.

    %% vm.yaml              a file, until the next %%
    …
    %%
    $ get vm testvm         typed after `kubectl`; variables may stand before it
    > GET /api/v1/… as Table => 200
    NAME   PHASE   …        printed: how far columns are apart does not matter, … stands for anything within a line,
    …                       and alone on its line, or after >, for any lines
    [1]                     ended with that status; left out for 0

Requests for discovery, schemas and the version are left out, for whether kubectl asks again depends on its cache; so are
empty lines and what kubectl logs."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.requests import WHOLE
from tests.api.kubectl import Kubectl

ANY = "…"
VARIABLE = re.compile(r"[A-Z_]+=")
LOGGED = re.compile(r"[IWE]\d{4} .*\.go:\d+\]")
STATUS = re.compile(r"\[(\d+)\]")
UNASKED = re.compile(r"/(openapi/.*|version|apis?|api/v1|apis/[^/]+/[^/]+)")
SHAPES = {"as=Table": " as Table", "as=PartialObjectMetadata": " as PartialObjectMetadata", "protobuf": " as protobuf"}


@dataclass
class Step:
    """One command of a transcript."""

    typed: str
    requests: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    status: int = 0

    def text(self) -> str:
        status = [f"[{self.status}]"] if self.status else []
        return "\n".join([f"$ {self.typed}", *(f"> {asked}" for asked in self.requests), *self.printed, *status])


@dataclass
class Transcript:
    """What a file of them says."""

    files: dict[str, str]
    steps: list[Step]

    @classmethod
    def read(cls, path: Path) -> Transcript:
        found = cls({}, [])
        lines = iter(path.read_text().splitlines())
        for line in lines:
            if line.startswith("%% "):
                found.files[line[3:]] = "".join(f"{inner}\n" for inner in _until_end(lines))
            elif line.startswith("$ "):
                found.steps.append(Step(line[2:]))
            elif line and not line.startswith("#"):
                _add(found.steps[-1], line)
        return found


def _until_end(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line == "%%":
            return
        yield line


def _add(step: Step, line: str) -> None:
    if status := STATUS.fullmatch(line):
        step.status = int(status[1])
    elif line.startswith("> "):
        step.requests.append(line[2:])
    else:
        step.printed.append(line)


class Recorder:
    """An application that writes down what it is asked, and how it answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._seen: list[Callable[[], str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        code = 0

        async def sending(message: Message) -> None:
            nonlocal code
            code = message.get("status", code)
            await send(message)

        if not UNASKED.fullmatch(scope["path"]):
            self._seen.append(lambda: f"{_asked(scope)} => {code}")
        # What is written past `send` would not be seen.
        await self._app({name: held for name, held in scope.items() if name != WHOLE}, receive, sending)

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[list[str]]:
        """What was asked in the block; filled at its end."""
        requests: list[str] = []
        self._seen.clear()
        yield requests
        requests.extend(seen() for seen in self._seen)


def _asked(scope: Scope) -> str:
    headers = {name: value.decode() for name, value in scope["headers"]}
    query = scope["query_string"].decode()
    shape = next((said for part, said in SHAPES.items() if part in headers.get(b"accept", b"")), "")
    type_ = headers.get(b"content-type", "") if scope["method"] == "PATCH" else ""
    sent = f" {type_.removeprefix('application/')}" if type_ else ""
    return f"{scope['method']} {scope['raw_path'].decode()}{'?' if query else ''}{query}{shape}{sent}"


async def played(step: Step, kubectl: Kubectl, recorder: Recorder) -> Step:
    """The command typed again: what happens now."""
    words = shlex.split(step.typed)
    given = list(takewhile(VARIABLE.match, words))
    environment = dict(word.split("=", 1) for word in given)
    async with recorder.recording() as requests:
        printed, status = await kubectl.run(*words[len(given) :], environment=environment)
    lines = [line for line in printed.splitlines() if line.strip() and not LOGGED.match(line)]
    return Step(step.typed, requests, lines, status)


def _narrow(line: str) -> str:
    return " ".join(line.split())


def agrees(expected: Step, seen: Step) -> bool:
    """Does what happened match what the transcript says?"""
    return (
        expected.status == seen.status
        and _matches(expected.requests, seen.requests)
        and _matches([_narrow(line) for line in expected.printed], [_narrow(line) for line in seen.printed])
    )


def _matches(patterns: list[str], lines: list[str]) -> bool:
    if not patterns:
        return not lines
    first, *rest = patterns
    if first == ANY:
        return any(_matches(rest, lines[skipped:]) for skipped in range(len(lines) + 1))
    return bool(lines) and _line_matches(first, lines[0]) and _matches(rest, lines[1:])


def _line_matches(pattern: str, line: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split(ANY)), line) is not None
