"""Accept: which form of an answer a client asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from app.api.errors import not_acceptable

JSON = "application/json"
YAML = "application/yaml"

ACCEPTED = (JSON, YAML)
ACCEPTED_WATCH = ("application/json;stream=watch",)


class Shape(StrEnum):
    """What stands in the answer's place of the object."""

    OBJECT = ""
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Media:
    """A negotiated form: content type, shape, and the shape's version (v1 or v1beta1)."""

    type: str = JSON
    shape: Shape = Shape.OBJECT
    version: str = "v1"


@dataclass(frozen=True, slots=True)
class Clause:
    """One alternative of an Accept header."""

    type: str
    quality: float = 1.0
    parameters: dict[str, str] = field(default_factory=dict)


def clauses(accept: str) -> list[Clause]:
    """The alternatives, best first: by quality, then in the client's order."""
    parsed = [_clause(text) for text in accept.split(",") if text.strip()]
    return sorted(parsed, key=lambda clause: -clause.quality)


def _clause(text: str) -> Clause:
    type_, *rest = (part.strip() for part in text.split(";"))
    parameters = {}
    for item in rest:
        name, _, value = item.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 1.0
    return Clause(type_.lower(), quality, parameters)


@lru_cache(maxsize=512)
def negotiate(accept: str, *, watch: bool = False) -> Media:
    """The first alternative that can be served. Raises 406 when there is none."""
    alternatives = clauses(accept)
    if not alternatives:
        return Media()
    for clause in alternatives:
        media = _served(clause, watch=watch)
        if media is not None:
            return media
    raise not_acceptable(ACCEPTED_WATCH if watch else ACCEPTED)


def _served(clause: Clause, *, watch: bool) -> Media | None:
    type_ = JSON if clause.type in ("*/*", "application/*") else clause.type
    if type_ not in ACCEPTED or (watch and type_ != JSON):
        return None
    if clause.parameters.get("stream", "watch" if watch else "") != ("watch" if watch else ""):
        return None
    shape = clause.parameters.get("as", "")
    if not shape:
        return Media(type_)
    version = clause.parameters.get("v", "v1")
    known = shape in (Shape.TABLE, Shape.PARTIAL, Shape.PARTIAL_LIST)
    if not known or clause.parameters.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1"):
        return None
    return Media(type_, Shape(shape), version)
