"""Accept: which form of an answer a client asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from app.api.errors import not_acceptable, not_routable
from app.machinery.protobuf import CONTENT_TYPE as PROTOBUF

JSON = "application/json"
YAML = "application/yaml"

ACCEPTED = (JSON, YAML, PROTOBUF)
"""What a 406 lists. kube-apiserver lists protobuf for custom resources too, which it cannot send as such."""
ACCEPTED_WATCH = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")


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
    pretty: bool = False
    """Indented, for people."""


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
    """Names and values of parameters are as they stand there: kube-apiserver knows neither quotes nor capitals of them."""
    type_, *rest = (part.strip() for part in text.split(";"))
    parameters = {}
    for item in rest:
        name, _, value = item.partition("=")
        parameters[name.strip()] = value.strip()
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        quality = 1.0
    return Clause(type_, quality, parameters)


@lru_cache(maxsize=512)
def ensure_routable(accept: str, produced: tuple[str, ...]) -> None:
    """kube-apiserver's router knows neither parameters nor `application/*`, and refuses in words of its own.

    Raises 406."""
    asked = [clause.partition(";")[0].strip() for clause in accept.split(",")]
    if accept and not any(type_ == "*/*" or type_ in produced for type_ in asked):
        raise not_routable(produced)


@lru_cache(maxsize=512)
def negotiate(accept: str, *, watch: bool = False, shapes: bool = True, protobuf: bool = False) -> Media:
    """The first alternative that can be served. Raises 406 when there is none.

    Without `shapes` there is no other form than the object's own. With `protobuf` that can be sent so; without, metadata
    alone still can."""
    media = _first(clauses(accept), shapes=shapes, protobuf=protobuf) if accept else Media()
    if media is None:
        raise not_acceptable(ACCEPTED)
    if watch and media.type == YAML:
        raise not_acceptable(ACCEPTED_WATCH)
    return media


def _first(alternatives: list[Clause], *, shapes: bool, protobuf: bool) -> Media | None:
    served = (_served(clause, shapes=shapes, protobuf=protobuf) for clause in alternatives)
    return next((media for media in served if media is not None), None)


def _served(clause: Clause, *, shapes: bool, protobuf: bool) -> Media | None:
    type_ = JSON if clause.type in ("*/*", "application/*", "*") else clause.type
    said = clause.parameters
    if type_ not in (JSON, YAML, PROTOBUF) or said.get("sv", "") not in (("", "v1") if shapes else ("",)):
        return None
    if said.get("stream", "") not in (("", "watch") if type_ != YAML else ("",)):
        return None
    pretty = said.get("pretty") == "1"
    if not any(said.get(name) for name in ("as", "g", "v")):
        return Media(type_, pretty=pretty) if protobuf or type_ != PROTOBUF else None
    shape, version = said.get("as", ""), said.get("v", "")
    known = shape in (Shape.PARTIAL, Shape.PARTIAL_LIST) or (shape == Shape.TABLE and type_ != PROTOBUF)
    if not shapes or not known or said.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1"):
        return None
    return Media(type_, Shape(shape), version, pretty)
