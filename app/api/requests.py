"""One HTTP request as a value: path, parameters, headers, and the body under its limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from app.api.auth.base import NOBODY, Credentials, Peer
from app.api.errors import too_large
from app.api.uids import random_uid
from app.machinery.access import STRANGER, Attributes, User
from app.machinery.errors import bad_request

BODY_LIMIT = 3 * 1024 * 1024
"""kube-apiserver's."""

DEADLINE_S = 60.0
"""How long a request other than a watch may take unless the client says less."""

_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+|0")
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


_TOKEN = r"[!#$%&'*+.^_`|~\w-]++"
_PARAMETER = rf'\s*+{_TOKEN}\s*+=\s*+(?:{_TOKEN}|"(?:[^"\\]|\\.)*+")\s*+'
_PARAMETERS = re.compile(rf"(?:{_PARAMETER}(?:;{_PARAMETER})*+)?;?\s*+", re.ASCII)
"""What may stand behind the semicolon of a content type; gives nothing back, so that no header takes long."""

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
"""What Go's ParseBool takes for true."""


Headers = Sequence[tuple[bytes, bytes]]
"""Of an answer."""


class ClientGone(Exception):
    """The client hung up before its request was complete: nobody is there to answer."""


PEER = "drover.peer"
"""Where the scope of a request says from which connection it came."""

PUSH = "drover.push"
"""Where the scope says how part of an answer that is under way can be written at once, without a turn of its own: a function
of bytes that is False where it must wait, or is not that far. Servers of others have none."""

WHOLE = "drover.whole"
"""Where the scope says how a whole answer can be written at once, without two turns of its own: a function of its code, its
headers and its body that is False where it must wait, and has then done nothing. Servers of others have none."""

UNJUDGED = Attributes("")


def _cannot(*_: object) -> bool:
    return False


@dataclass(slots=True)
class Request:
    """What came in. Parameters: the first of a repeated one counts.

    The gate says who sent it and what it asks for; nothing else changes it.
    """

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    receive: Receive
    scope: Scope
    user: User = STRANGER
    """Who it is for: the one impersonated, where somebody is."""
    impersonator: User | None = None
    """Who really sent it, where that is somebody else."""
    attributes: Attributes = field(default=UNJUDGED)
    """What it asks for, as it was judged; also what fair queuing and the audit go by."""
    named: bytes = b""
    """The name under which it was answered."""

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        return cls(scope["method"], scope["path"], parse_query(scope["query_string"]), headers, receive, scope)

    @property
    def push(self) -> Callable[[bytes], bool]:
        """Writes at once, if it can be: see PUSH."""
        found: Callable[[bytes], bool] = self.scope.get(PUSH, _cannot)
        return found

    @property
    def whole(self) -> Callable[[int, Headers, bytes], bool]:
        """Answers at once, if it can be: see WHOLE."""
        found: Callable[[int, Headers, bytes], bool] = self.scope.get(WHOLE, _cannot)
        return found

    @property
    def audit_id(self) -> bytes:
        """The client's name for its request, or one that is made up for it."""
        if not self.named:
            self.named = self.headers.get(b"audit-id") or random_uid().encode()
        return self.named

    @property
    def credentials(self) -> Credentials:
        """What tells who sent it."""
        return Credentials(self.headers, self.scope["headers"], self.peer)

    @property
    def peer(self) -> Peer:
        """The connection's other end."""
        peer = self.scope.get(PEER, NOBODY)
        assert isinstance(peer, Peer)
        return peer

    def header(self, name: bytes) -> str:
        """The header's text, or "" when it was not sent. Names are lower-case."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def accept(self) -> str:
        return self.header(b"accept")

    @property
    def content_type(self) -> str:
        """The body's media type without parameters; "" when the client did not say."""
        return self.header(b"content-type").partition(";")[0].strip().lower()

    @property
    def decoded_type(self) -> str:
        """As content_type, of a body that is decoded by it: with parameters that cannot be read it is no type that is known."""
        said = self.header(b"content-type")
        return self.content_type if _PARAMETERS.fullmatch(said.partition(";")[2]) else said

    @property
    def pretty(self) -> bool:
        """Asked for, or to be read by a person."""
        said = self.parameters.get("pretty")
        if said:
            return said in _TRUE
        return self.header(b"user-agent").startswith(("curl", "Wget", "Mozilla/5.0"))

    @property
    def deadline_s(self) -> float:
        asked = self.parameters.get("timeout")
        return DEADLINE_S if not asked else min(DEADLINE_S, duration_s(asked) or DEADLINE_S)

    async def body(self) -> bytes:
        """The whole body. Raises 413 as soon as it is too long, ClientGone when it does not come."""
        announced = self.header(b"content-length")
        if announced.isdecimal() and int(announced) > BODY_LIMIT:
            raise too_large(f"limit is {BODY_LIMIT}")
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > BODY_LIMIT:
                raise too_large(f"limit is {BODY_LIMIT}")
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)


_NONE: Mapping[str, str] = {}


_UNREADABLE = re.compile(rb";|%(?![0-9A-Fa-f]{2})")
"""In what Go leaves out of a query."""


def parse_query(query: bytes) -> Mapping[str, str]:
    """The parameters; of a repeated one the first, of dryRun, which is a list, all of them."""
    if not query:
        return _NONE
    readable = b"&".join(pair for pair in query.split(b"&") if not _UNREADABLE.search(pair))
    pairs = parse_qsl(readable.decode("latin-1"), keep_blank_values=True)
    parameters = dict(reversed(pairs))
    if "dryRun" in parameters:
        parameters["dryRun"] = _BETWEEN.join(value for name, value in pairs if name == "dryRun")
    return parameters


_BETWEEN = "\0"


def listed(parameters: Mapping[str, str], name: str) -> list[str]:
    """The values of a parameter that is a list."""
    return parameters[name].split(_BETWEEN) if name in parameters else []


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """Kubernetes' idea of a boolean: present, and neither 0 nor false."""
    value = parameters.get(name)
    return value is not None and value.lower() not in ("0", "false")


def integer(parameters: Mapping[str, str], name: str) -> int | None:
    """A signed integer, None when absent. Raises 400 in Go's words."""
    text = parameters.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    # So many digits are never in range, and Python refuses to convert thousands of them.
    value = int(text) if len(text) < 100 else 2**63
    if not -(2**63) <= value < 2**63:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


@lru_cache(maxsize=64)
def duration_s(text: str) -> float:
    """A Go duration in seconds; 0 for one that is over before it begins. Raises 400."""
    if not _DURATION.fullmatch(text):
        raise bad_request(f"invalid timeout specified in the request URL - time: {_undurable(text)}")
    return 0 if text.startswith("-") else sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def _undurable(text: str) -> str:
    """Why it is no duration, in Go's words."""
    rest = _PART.sub("", text.lstrip("+-"))
    number = re.match(r"\d+\.?\d*|\.\d+", rest)
    if number is None:
        return f'invalid duration "{text}"'
    unit = re.match(r"[^.\d]*", rest[number.end() :])
    if not unit or not unit.group():
        return f'missing unit in duration "{text}"'
    return f'unknown unit "{unit.group()}" in duration "{text}"'
