"""Request bodies: by their content type into documents, with what the schema has to say about unknown fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.api import errors
from app.api.negotiation import JSON, YAML
from app.api.options import Validation, WriteOptions
from app.api.requests import Request
from app.machinery.decoding import Undecodable, Unrecognized, ensure_identity, ensure_types, metadata_of, told
from app.machinery.documents import CONFIG, Beyond, parse_json, parse_yaml, yaml_duplicates
from app.machinery.errors import ApiError, bad_request, invalid, invalid_object
from app.machinery.kind import GroupVersion, Kind
from app.machinery.objects import Document
from app.machinery.protobuf import CONTENT_TYPE as PROTOBUF
from app.machinery.protobuf import parse_protobuf
from app.machinery.schema import schema_of
from app.machinery.values import value

ACCEPTED: tuple[str, ...] = (JSON, YAML, PROTOBUF)


@value()
class Decoded:
    """A body's document, the body itself, and what is to be said of fields that came twice."""

    document: Document
    raw: bytes
    duplicates: Sequence[str] = ()


def body_type(request: Request) -> str:
    """Without a content type it is JSON. Raises 415 for what cannot be decoded."""
    type_ = request.decoded_type or JSON
    if type_ not in ACCEPTED:
        raise errors.unsupported_media(ACCEPTED)
    return type_


def decoded(kind: Kind[Any, Any], type_: str, body: bytes) -> Decoded:
    """The body of a create or an update. Raises ApiError 400."""
    try:
        return parsed(type_, body)
    except Beyond as error:
        raise Undecodable(kind, kind.group_version, error.message) from error
    except ApiError as error:
        if error.code != 400:
            raise
        raise Unrecognized(kind, error.message, body) from error


def parsed(type_: str, body: bytes) -> Decoded:
    """Raises ApiError 400."""
    if type_ == PROTOBUF:
        return Decoded(parse_protobuf(body), body)
    if type_ == YAML:
        document, lines = parse_yaml(body)
        return Decoded(document, body, _yaml_complaint(lines))
    document, paths = parse_json(body)
    return Decoded(document, body, [f'duplicate field "{path}"' for path in paths])


async def question(request: Request, kind: Kind[Any, Any]) -> tuple[Document, list[str]]:
    """The body of what is answered and never stored, its fields known to be of the right types, and what to warn of. Raises
    ApiError for what is no such question."""
    type_, raw = body_type(request), await request.body()
    options = WriteOptions.read(request.parameters, "CreateOptions")
    if not raw:
        return {}, []
    body, version = decoded(kind, type_, raw), kind.group_version
    document = told(kind, body.document)
    ensure_identity(kind, version, document, raw)
    metadata_of(kind, version, document)
    ensure_types(kind, version, document)
    found = complaints(body.duplicates, pruned(kind, document))
    if found and options.validation is Validation.STRICT:
        raise strict_error(kind.name, version, found)
    return {**document, "metadata": metadata_of(kind, version, document)}, strictly(found, options.validation)


_YAML_ERRORS = "yaml: unmarshal errors:\n"


def _yaml_complaint(lines: Sequence[str]) -> list[str]:
    """All of them are one error to who is strict."""
    return [_YAML_ERRORS + "\n".join(f"  {line}" for line in lines)] if lines else []


def applied_body(body: bytes) -> tuple[Document, list[str]]:
    """The body of an apply, which is YAML or JSON, and what is to be said of fields that it has twice. Raises ApiError
    400."""
    document, repeated = _config(body)
    return document, [
        f"{CONFIG.yaml_prefix}{text}" for text in _yaml_complaint(yaml_duplicates(body))
    ] if repeated else []


def strict_apply_error(found: Sequence[str]) -> ApiError:
    """400 of an apply."""
    return bad_request(f"error strict decoding YAML: {', '.join(found)}")


def _config(body: bytes) -> tuple[Document, list[str]]:
    if not body.strip():
        return {}, []
    if body.lstrip().startswith(b"{"):
        try:
            return parse_json(body, CONFIG)
        except ApiError:
            pass  # What is no JSON may be YAML still, which then says what is wrong.
    try:
        return parse_yaml(body, CONFIG)
    except ApiError as error:
        raise bad_request(f"error decoding YAML: {error.message}") from error


def pruned(kind: Kind[Any, Any], document: Document) -> list[str]:
    """Takes unknown fields out of the document; their paths. Of a custom resource, metadata is looked at first, and the
    rest is sorted."""
    unknown = schema_of(kind).prune(document)
    if kind.typed:
        return unknown
    inside = [path for path in unknown if path.startswith("metadata.")]
    return [*inside, *sorted(path for path in unknown if not path.startswith("metadata."))]


def known_alone(duplicates: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """Of what is said of fields that came twice, what is not of unknown ones or of what is in them."""
    paths = tuple(f'duplicate field "{path}{end}' for path in unknown for end in '".[')
    return [text for text in duplicates if not text.startswith(paths)]


def complaints(duplicates: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """What strict validation refuses and the ordinary one warns of."""
    return [*duplicates, *(f'unknown field "{path}"' for path in unknown)]


def strictly(found: Sequence[str], validation: Validation) -> list[str]:
    """The warnings that are due when nothing is refused."""
    if validation is not Validation.WARN:
        return []
    return [
        line.strip()
        for text in found
        for line in text.removeprefix(CONFIG.yaml_prefix).removeprefix(_YAML_ERRORS).split("\n")
    ]


def strict_error(kind: str, group_version: GroupVersion, found: Sequence[str]) -> ApiError:
    """400 of a create or an update."""
    text = f"strict decoding error: {', '.join(found)}"
    return bad_request(f'{kind} in version "{group_version.version}" cannot be handled as a {kind}: {text}')


def strict_patch_error(patched: bytes, found: Sequence[str]) -> ApiError:
    """422 of a patch that leads to fields that nobody knows."""
    return patch_error(patched, f"strict decoding error: {', '.join(found)}")


def patch_error(patched: bytes, why: str) -> ApiError:
    """422 of a patch whose outcome cannot be decoded: it names no object, but shows the whole outcome."""
    error = invalid_object("", "", "", [invalid("patch", patched.decode(), why)])
    causes = (error.details or {}).get("causes", [])
    return ApiError(error.code, error.reason, error.message, {"causes": causes})
