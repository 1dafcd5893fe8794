"""Stored objects as a client wants them: as they are, under a second group version, as Tables, as metadata only."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from app.api.errors import not_acceptable
from app.api.negotiation import ACCEPTED, Media, Shape
from app.api.responses import Response, in_form, of_document
from app.api.routes import Served
from app.machinery.errors import ApiError
from app.machinery.lifecycle import served_as
from app.machinery.objects import Document
from app.machinery.protobuf import CONTENT_TYPE as PROTOBUF
from app.machinery.protobuf import to_frame
from app.machinery.table import partial, partial_list, table
from app.machinery.values import value
from app.machinery.zeroes import blank
from app.store.base import EventType, Stored

_HELD = 4096
"""How many rewritten objects and frames are kept: those of the last changes, which many watchers want at once."""

_HELD_BYTES = 8 << 20
"""How large they may be together: large objects must not fill the memory."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends a streaming list."""


class Memo:
    """The last few encodings, each made once and shared."""

    def __init__(self, held: int = _HELD, held_bytes: int = _HELD_BYTES) -> None:
        self._held = held
        self._held_bytes = held_bytes
        self._kept: dict[object, bytes] = {}
        self._bytes = 0

    def get(self, key: object, encode: Callable[[], bytes]) -> bytes:
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = encode()
            self._bytes += len(found)
            while len(self._kept) > self._held or self._bytes > self._held_bytes:
                self._bytes -= len(self._kept.pop(next(iter(self._kept))))
        return found

    @property
    def size(self) -> int:
        """In bytes, keys aside."""
        return self._bytes


@value(eq=False)
class View:
    """How a request wants objects."""

    served: Served
    media: Media
    include_object: str = ""


@lru_cache(maxsize=256)
def shared_view(served: Served, media: Media, include_object: str) -> View:
    """One and the same for all who want the same: what a watch's frames are shared by, without a comparison."""
    return View(served, media, include_object)


@value()
class Page:
    """Part of a list, or all of it."""

    items: Sequence[Stored]
    metadata: Document
    content: Hashable = None
    """The same for pages with the same items; None: unknown."""


class Representations:
    """Bytes for answers and frames."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._bodies = Memo()
        self._frames = Memo()
        self._lists = Memo()

    def body(self, served: Served, stored: Stored) -> bytes:
        """The object's JSON; the stored bytes themselves wherever that is possible."""
        if served.native:
            return stored.body
        return self._bodies.get((served, stored.body), lambda: orjson.dumps(self.document(served, stored)))

    def document(self, served: Served, stored: Stored) -> Document:
        """The object as a document that must not be changed."""
        return served_as(served.kind, served.group_version, stored.document)

    def one(self, view: View, stored: Stored, code: int = 200, *, metadata: Document | None = None) -> Response:
        """The answer that has one object; `metadata` is its own, but for the revision, where that is known already."""
        if view.media.shape is Shape.OBJECT:
            about = None if metadata is None else {**metadata, "resourceVersion": str(stored.revision)}
            return in_form(Response(self.body(view.served, stored), code, about=about), view.media)
        return self.of(view, self.document(view.served, stored), code)

    def of(self, view: View, document: Document, code: int = 200) -> Response:
        """The answer that has one object which is not stored: a dry run's."""
        match view.media.shape:
            case Shape.OBJECT:
                shown = document
            case Shape.TABLE:
                shown = self._table(view, [document], metadata=_version_of(document))
            case Shape.PARTIAL:
                shown = partial(document, version=view.media.version)
            case Shape.PARTIAL_LIST:
                raise _no_list(view.served)
        return of_document(shown, code, media=view.media)

    def many(self, view: View, page: Page) -> Response:
        """The answer that has a list."""
        served = view.served
        if view.media.shape is Shape.OBJECT:
            return in_form(Response(self._list(served, page)), view.media)
        if view.media.shape is Shape.PARTIAL:
            raise _no_item(served)
        documents = [self.document(served, stored) for stored in page.items]
        # Lists of custom resources say even that there is no further page; these forms do not.
        metadata = {name: value for name, value in page.metadata.items() if value != ""}
        if view.media.shape is Shape.TABLE:
            return of_document(self._table(view, documents, metadata=metadata), media=view.media)
        return of_document(partial_list(documents, metadata, version=view.media.version), media=view.media)

    def _list(self, served: Served, page: Page) -> bytes:
        version, name = str(served.group_version), served.kind.list_name
        if page.content is None:
            items = self._joined(served, page)
        else:
            items = self._lists.get((served, page.content), lambda: self._joined(served, page))
        return b'{"apiVersion":%b,"items":[%b],"kind":%b,"metadata":%b}' % (
            orjson.dumps(version), items, orjson.dumps(name), orjson.dumps(page.metadata),
        )  # fmt: skip

    def _joined(self, served: Served, page: Page) -> bytes:
        bodies = [self.body(served, stored) for stored in page.items]
        return b",".join(_without_type(served, bodies) if served.kind.typed and served.native else bodies)

    def _table(
        self, view: View, documents: Sequence[Document], *, headers: bool = True, metadata: Document
    ) -> Document:
        return table(
            view.served.kind,
            documents,
            now=self._clock(),
            include_object=view.include_object,
            headers=headers,
            list_metadata=metadata,
            version=view.media.version,
        )

    def live_frame(self, view: View, type_: EventType, stored: Stored) -> bytes:
        """A watch's line for a change that has just happened: encoded once for all who watch alike, whose view is shared.
        A revision is one change, which looks the same to all to whom it is of the same type."""
        key = (view, type_, stored.revision)
        return self._frames.get(key, lambda: self.frame(view, type_, stored))

    def frame(self, view: View, type_: EventType, stored: Stored, *, headers: bool = False) -> bytes:
        """A watch's line. A Table's columns are told with `headers`: by the first line of a watch only."""
        if view.media.type == PROTOBUF:
            document = self.document(view.served, stored)
            partly = view.media.shape is not Shape.OBJECT
            return to_frame(type_, partial(document, version=view.media.version) if partly else document)
        return b'{"type":"%b","object":%b}\n' % (type_.encode(), self._framed(view, stored, headers))

    def _framed(self, view: View, stored: Stored, headers: bool) -> bytes:
        if view.media.shape is Shape.OBJECT:
            return self.body(view.served, stored)
        document = self.document(view.served, stored)
        if view.media.shape is Shape.TABLE:
            return orjson.dumps(self._table(view, [document], headers=headers, metadata=_version_of(document)))
        return orjson.dumps(partial(document, version=view.media.version))

    def bookmark(self, view: View, revision: int, *, headers: bool = False, initial_end: bool = False) -> bytes:
        """A watch's line that only says how far it has come; with `initial_end` that the first state is complete."""
        version: Document = {"resourceVersion": str(revision)}
        metadata = version | ({"annotations": {INITIAL_EVENTS_END: "true"}} if initial_end else {})
        served = view.served
        bare: Document = {"apiVersion": str(served.group_version), "kind": served.kind.name, "metadata": metadata}
        shown: Document
        match view.media.shape:
            case Shape.TABLE:
                # A Table's own metadata has no place for the annotation: a row carries it.
                carrier = View(served, view.media, view.include_object.replace("None", ""))
                shown = self._table(carrier, [bare] if initial_end else [], headers=headers, metadata=version)
            case Shape.OBJECT:
                shown = bare | blank(served.kind.blank)
            case _:
                shown = partial(bare, version=view.media.version)
        if view.media.type == PROTOBUF:
            return to_frame("BOOKMARK", shown)
        return orjson.dumps({"type": "BOOKMARK", "object": shown}, option=orjson.OPT_APPEND_NEWLINE)


def error_frame(error: ApiError, media: Media) -> bytes:
    """The last line of a watch that cannot go on."""
    if media.type == PROTOBUF:
        return to_frame("ERROR", error.status())
    return orjson.dumps({"type": "ERROR", "object": error.status()}, option=orjson.OPT_APPEND_NEWLINE)


def at_revision(stored: Stored, revision: int) -> Stored:
    """An older version under a newer resourceVersion: what a watcher is told when an object leaves its selector."""
    document: dict[str, Any] = dict(stored.document)
    document["metadata"] = {**document["metadata"], "resourceVersion": str(revision)}
    return Stored(stored.key, revision, orjson.dumps(document))


def _without_type(served: Served, bodies: Sequence[bytes]) -> list[bytes]:
    """As a list of a type that is compiled into kube-apiserver has its items: only the list says what they are."""
    says = orjson.dumps({"apiVersion": str(served.group_version), "kind": served.kind.name})[:-1] + b","
    return [b"{" + body[len(says) :] if body.startswith(says) else body for body in bodies]


def _version_of(document: Document) -> Document:
    version = document["metadata"].get("resourceVersion")
    return {"resourceVersion": version} if version else {}


def _no_item(served: Served) -> ApiError:
    error = not_acceptable(ACCEPTED)
    asked = f"you requested PartialObjectMetadata, but the requested object is a list ({_go_type(served, 'List')})"
    return ApiError(error.code, error.reason, asked)


def _go_type(served: Served, suffix: str = "") -> str:
    """What holds it in kube-apiserver's memory."""
    return (
        f"*{served.kind.package}.{served.kind.name}{suffix}"
        if served.kind.typed
        else f"*unstructured.Unstructured{suffix}"
    )


def _no_list(served: Served) -> ApiError:
    error = not_acceptable(ACCEPTED)
    asked = f"you requested PartialObjectMetadataList, but the requested object is not a list ({_go_type(served)})"
    return ApiError(error.code, error.reason, asked)
