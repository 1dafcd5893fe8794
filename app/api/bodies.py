"""Request bodies: by their content type into documents, with what the schema has to say about unknown fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from app.api import errors
from app.api.negotiation import JSON, YAML
from app.api.options import Validation
from app.api.requests import Request
from app.machinery.documents import parse_json, parse_yaml
from app.machinery.errors import ApiError, bad_request, invalid, invalid_object
from app.machinery.kind import GroupVersion
from app.machinery.objects import Document
from app.machinery.protobuf import CONTENT_TYPE as PROTOBUF
from app.machinery.protobuf import parse_protobuf

ACCEPTED = (JSON, YAML, PROTOBUF)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body's document, and the paths of fields that came twice."""

    document: Document
    duplicates: Sequence[str] = ()


async def decoded(request: Request) -> Decoded:
    """The body of a create, an update or a delete. Without a content type it is JSON. Raises ApiError."""
    type_ = request.content_type or JSON
    if type_ not in ACCEPTED:
        raise errors.unsupported_media(ACCEPTED)
    body = await request.body()
    return parsed(type_, body)


def parsed(type_: str, body: bytes) -> Decoded:
    """Raises ApiError 400."""
    if type_ == PROTOBUF:
        return Decoded(parse_protobuf(body))
    document, duplicates = parse_yaml(body) if type_ == YAML else parse_json(body)
    return Decoded(document, duplicates)


def applied_body(body: bytes, validation: Validation) -> tuple[Document, list[str]]:
    """The body of an apply, which is YAML or JSON, and what to warn of. Raises ApiError 400."""
    try:
        document, duplicates = (parse_json if body.lstrip().startswith(b"{") else parse_yaml)(body)
    except ApiError:
        document, duplicates = _applied_yaml(body)
    found = complaints((), duplicates)
    if found and validation is Validation.STRICT:
        raise bad_request(f"error strict decoding YAML: {', '.join(found)}")
    return document, strictly(found, validation)


def _applied_yaml(body: bytes) -> tuple[Document, list[str]]:
    if not body.strip():
        return {}, []
    try:
        return parse_yaml(body)
    except ApiError as error:
        raise bad_request(f"error decoding YAML: {error.message}") from error


def complaints(unknown: Sequence[str], duplicates: Sequence[str]) -> list[str]:
    """What strict validation refuses and the ordinary one warns of."""
    return [*(f'duplicate field "{path}"' for path in duplicates), *(f'unknown field "{path}"' for path in unknown)]


def strictly(found: Sequence[str], validation: Validation) -> list[str]:
    """The warnings that are due when nothing is refused."""
    return list(found) if validation is Validation.WARN else []


def strict_error(kind: str, group_version: GroupVersion, found: Sequence[str]) -> ApiError:
    """400 of a create or an update."""
    text = f"strict decoding error: {', '.join(found)}"
    return bad_request(f'{kind} in version "{group_version.version}" cannot be handled as a {kind}: {text}')


def strict_patch_error(patched: Document, found: Sequence[str]) -> ApiError:
    """422 of a patch: it names no object, but shows the whole outcome."""
    text = f"strict decoding error: {', '.join(found)}"
    error = invalid_object("", "", "", [invalid("patch", orjson.dumps(patched).decode(), text)])
    causes = (error.details or {}).get("causes", [])
    return ApiError(error.code, error.reason, error.message, {"causes": causes})
