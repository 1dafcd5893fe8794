"""One whole HTTP answer: JSON or YAML, pretty for people, gzip when large, the warnings as headers."""

from __future__ import annotations

import asyncio
import gzip
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson
from starlette.types import Message, Send

from app.api.errors import NoSuchPath, TimedOut, TooMany, Unjudged
from app.api.negotiation import JSON, YAML, Media, negotiate
from app.api.requests import Request
from app.machinery.errors import ApiError
from app.machinery.go_yaml import written
from app.machinery.objects import Document
from app.machinery.protobuf import CONTENT_TYPE as PROTOBUF
from app.machinery.protobuf import has_message, to_protobuf
from app.machinery.values import value

GZIP_FROM = 128 * 1024
"""Smaller answers are not worth the time; kube-apiserver's bound."""

SLICE = 64 * 1024
"""Of an answer, sent at once: some tenths of a millisecond's encryption."""
GZIP_ASIDE = 512 * 1024
"""Some milliseconds' work, against a tenth of one for handing it to a thread."""

Headers = tuple[tuple[bytes, bytes], ...]

TEXT = "text/plain; charset=utf-8"
NO_SNIFF = (b"x-content-type-options", b"nosniff")


@value()
class Response:
    """What goes out. `body` is JSON unless `type` says otherwise."""

    body: bytes
    code: int = 200
    type: str = JSON
    headers: Headers = ()
    pretty: bool = False
    about: Document | None = None
    """metadata of the object that it has, where that is known without a look into the body."""


def of_document(document: Document, code: int = 200, *, media: Media | None = None) -> Response:
    """An answer made of a document rather than of stored bytes."""
    return in_form(Response(orjson.dumps(document), code), media or Media())


def of_error(error: ApiError, accept: str = "") -> Response:
    """In the form that the client accepts; where that is none of ours, as JSON for people."""
    headers = tuple((name.lower().encode(), value.encode()) for name, value in error.headers.items())
    if isinstance(error, NoSuchPath | TooMany | Unjudged):
        return Response(error.message.encode() + b"\n", error.code, TEXT, (*headers, NO_SNIFF))
    response = Response(orjson.dumps(error.status()), error.code, headers=headers)
    if isinstance(error, TimedOut):
        return replace(response, type=TEXT)
    response = warned(response, error.warnings)
    try:
        return in_form(response, negotiate(accept, shapes=False, protobuf=True))
    except ApiError:
        return replace(response, pretty=True)


def in_form(response: Response, media: Media) -> Response:
    """The same answer in the negotiated content type."""
    if media.pretty:
        response = replace(response, pretty=True)
    if media.type == PROTOBUF and response.type == JSON:
        document = orjson.loads(response.body)
        return replace(response, body=to_protobuf(document), type=PROTOBUF) if has_message(document) else response
    if media.type != YAML or response.type != JSON:
        return response
    return replace(response, body=written(orjson.loads(response.body)), type=YAML)


MOST_WARNINGS = 4096
"""Characters of all warnings together; when they are more, each is cut to LONGEST_WARNING, until that is enough."""
LONGEST_WARNING = 256


def warned(response: Response, warnings: Sequence[str]) -> Response:
    """The answer with one Warning header for each, which is said once. What cannot stand in a header is not said."""
    if not warnings:
        return response
    texts = [
        text for text in dict.fromkeys(warnings) if not any(unicodedata.category(letter) == "Cc" for letter in text)
    ]
    if not texts:
        return response
    if sum(map(len, texts)) > MOST_WARNINGS:
        texts = list(_cut(texts))
    return replace(response, headers=(*response.headers, *((b"warning", _warning(text)) for text in texts)))


def _cut(texts: Sequence[str]) -> Iterator[str]:
    written = 0
    for text in texts:
        if written >= MOST_WARNINGS:
            return
        written += len(text[:LONGEST_WARNING])
        yield text[:LONGEST_WARNING]


def _warning(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'.encode()


_VARIES = (b"vary", b"Accept-Encoding")


async def send(request: Request, response: Response, sending: Send) -> None:
    """Sends all of it. A large one goes in slices, and others have their turn between them: each is encrypted as it is sent,
    and a megabyte at once would hold up everybody for as long as that takes."""
    body = response.body
    type_ = ((b"content-type", response.type.encode()),) if response.type else ()
    headers = [*type_, *_echoed(request), *response.headers]
    if not response.headers or all(name != b"cache-control" for name, _ in response.headers):
        headers.append((b"cache-control", b"no-cache, private"))
    if response.type == JSON and body:
        body = _pretty(body) if response.pretty or request.pretty else body + b"\n"
    elif response.type.startswith(JSON) and body:
        body += b"\n"
    if len(body) > GZIP_FROM and _takes_gzip(request):
        body = await _zipped(body)
        headers = [header for header in headers if header != _VARIES]
        headers += [(b"content-encoding", b"gzip"), _VARIES]
    if response.code == 304:  # nothing follows that a type or a length could be said of
        headers = [(name, value) for name, value in headers if name != b"content-type"]
    else:
        headers.append((b"content-length", str(len(body)).encode()))
    if request.method == "HEAD":
        body = b""
    if len(body) <= SLICE and request.whole(response.code, headers, body):
        return
    await sending({"type": "http.response.start", "status": response.code, "headers": headers})
    for at in range(0, len(body) - SLICE, SLICE):
        await sending({"type": "http.response.body", "body": body[at : at + SLICE], "more_body": True})
        await asyncio.sleep(0)
    await sending({"type": "http.response.body", "body": body[_last(len(body)) :]})


def _last(size: int) -> int:
    """Where the last slice begins."""
    return max(0, (size - 1) // SLICE * SLICE)


def audited(request: Request, sending: Send) -> Send:
    """Sends what somebody else answers, with the headers of every answer."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message["headers"]}
            more = [] if b"cache-control" in said else [(b"cache-control", b"no-cache, private")]
            message = {**message, "headers": [*message["headers"], *_echoed(request), *more]}
        await sending(message)

    return send_with_headers


def stream_headers(request: Request, type_: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer without a length."""
    return [(b"content-type", type_.encode()), (b"cache-control", b"no-cache, private"), *_echoed(request)]


async def _zipped(body: bytes) -> bytes:
    """A large one takes long: in a thread, so that others need not wait for it."""
    if len(body) < GZIP_ASIDE:
        return gzip.compress(body, compresslevel=1)
    return await asyncio.to_thread(gzip.compress, body, 1)


def _takes_gzip(request: Request) -> bool:
    """kube-apiserver's reading: the bare word, without a quality."""
    return any(coding.strip() == b"gzip" for coding in request.headers.get(b"accept-encoding", b"").split(b","))


def _echoed(request: Request) -> Headers:
    return ((b"audit-id", request.audit_id),)


def _pretty(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
