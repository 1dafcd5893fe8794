"""The operations of a kind in OpenAPI: its paths, with the names and marks by which clients find them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.machinery.discovery import has_status, subresources, verbs
from app.machinery.kind import GroupVersion, Kind, Subresource
from app.machinery.objects import Document
from app.machinery.openapi_meta import (
    APPLY_PATCH,
    DELETE_OPTIONS,
    PATCH,
    STATUS,
    STRATEGIC_PATCH,
    WATCH_EVENT,
    reference,
)

AnyKind = Kind[Any, Any]

JSON = "application/json"
YAML = "application/yaml"
PATCHES: Document = {
    "application/json-patch+json": reference(PATCH),
    "application/merge-patch+json": reference(PATCH),
}
STRATEGIC: Document = {"application/strategic-merge-patch+json": reference(STRATEGIC_PATCH)}
APPLY: Document = {"application/apply-patch+yaml": reference(APPLY_PATCH)}


@dataclass(frozen=True, slots=True)
class Naming:
    """How things of a group version are called in OpenAPI."""

    group_version: GroupVersion

    def schema(self, kind: str) -> str:
        """io.kubevirt.v1alpha1.Migration; for Kubernetes' own groups io.k8s.api.core.v1.Pod, io.k8s.api.rbac.v1.Role."""
        return ".".join((*self._reversed_group(), self.group_version.version, kind))

    def _reversed_group(self) -> list[str]:
        group = self.group_version.group.removesuffix(".authorization.k8s.io").removesuffix(".k8s.io")
        if not group or "." not in group:
            return ["io", "k8s", "api", group or "core"]
        return group.split(".")[::-1]

    @property
    def tag(self) -> str:
        """kubevirtIo_v1alpha1, core_v1."""
        return f"{self._camel()}_{self.group_version.version}"

    def operation(self, verb: str, rest: str) -> str:
        """listKubevirtIoV1alpha1NamespacedMigration."""
        camel, version = self._camel(), self.group_version.version
        return f"{verb}{camel[:1].upper()}{camel[1:]}{version[:1].upper()}{version[1:]}{rest}"

    def _camel(self) -> str:
        first, *others = (self.group_version.group or "core").removesuffix(".k8s.io").split(".")
        return first + "".join(part.capitalize() for part in others)

    def gvk(self, kind: str) -> Document:
        return {"group": self.group_version.group, "kind": kind, "version": self.group_version.version}


def paths_of(kind: AnyKind, naming: Naming) -> Document:
    """Every path of a kind under a group version."""
    root = naming.group_version.path
    scoped = f"{root}/namespaces/{{namespace}}" if kind.namespaced else root
    at = [_NAMESPACE] if kind.namespaced else []
    operations = _Operations(kind, naming)
    collection, item = f"{scoped}/{kind.plural}", f"{scoped}/{kind.plural}/{{name}}"
    named = [operations.name_parameter(), *at, _PRETTY]
    paths: Document = {
        collection: {**_served(kind, dict(operations.collection())), "parameters": [*at, _PRETTY]},
        item: {**dict(operations.item()), "parameters": named},
    }
    for subresource in subresources(kind):
        paths[f"{item}/{subresource.name}"] = {**dict(operations.below(subresource)), "parameters": named}
    if kind.namespaced:
        paths[f"{root}/{kind.plural}"] = {"get": operations.list_everywhere(), "parameters": [*_LISTING, _PRETTY]}
    return paths | _watch_paths(kind, naming, operations)


def review_paths(review: AnyKind, naming: Naming) -> Document:
    """The one path of what is answered and never stored; its parameters stand at the path."""
    root = naming.group_version.path
    scoped = f"{root}/namespaces/{{namespace}}" if review.namespaced else root
    at = [_NAMESPACE] if review.namespaced else []
    create = dict(_Operations(review, naming).collection())["post"]
    post = {name: value for name, value in create.items() if name != "parameters"}
    return {f"{scoped}/{review.plural}": {"post": post, "parameters": [*_WRITING, *at, _PRETTY]}}


def _served(kind: AnyKind, collection: Document) -> Document:
    """Without the deletion of all where there is none."""
    allowed = "deletecollection" in verbs(kind)
    return {method: operation for method, operation in collection.items() if allowed or method != "delete"}


def _watch_paths(kind: AnyKind, naming: Naming, operations: _Operations) -> Document:
    """The legacy watch prefix, by which generated clients know that a kind can be watched."""
    root = naming.group_version.path
    inside = f"{root}/watch/namespaces/{{namespace}}" if kind.namespaced else f"{root}/watch"
    at = [_NAMESPACE] if kind.namespaced else []
    shared = [*_LISTING, _PRETTY]
    paths: Document = {
        f"{inside}/{kind.plural}": {"get": operations.watch_list(), "parameters": [*shared, *at]},
        f"{inside}/{kind.plural}/{{name}}": {
            "get": operations.watch(),
            "parameters": [*shared, *at, operations.name_parameter()],
        },
    }
    if kind.namespaced:
        paths[f"{root}/watch/{kind.plural}"] = {"get": operations.watch_everywhere(), "parameters": shared}
    return paths


class _Operations:
    """Writes the operations of one kind under one group version."""

    def __init__(self, kind: AnyKind, naming: Naming) -> None:
        self._kind = kind
        self._naming = naming
        self._scope = "Namespaced" if kind.namespaced else ""
        self._object = naming.schema(kind.name)
        self._list = naming.schema(kind.list_name)

    def name_parameter(self) -> Document:
        return {**_path_parameter("name"), "description": f"name of the {self._kind.name}"}

    def collection(self) -> Iterator[tuple[str, Document]]:
        name, scope = self._kind.name, self._scope
        yield (
            "get",
            self._operation(
                "list",
                f"{scope}{name}",
                "list",
                f"list or watch objects of kind {name}",
                self._list,
                parameters=_LISTING,
            ),
        )
        yield (
            "post",
            {
                **self._operation(
                    "create",
                    f"{scope}{name}",
                    "post",
                    f"create {_a(name)}",
                    self._object,
                    parameters=_WRITING,
                    new=True,
                ),
                "requestBody": _body(self._object, (JSON, YAML)),
            },
        )
        yield (
            "delete",
            {
                **self._operation(
                    "delete",
                    f"Collection{scope}{name}",
                    "deletecollection",
                    f"delete collection of {name}",
                    self._list,
                    parameters=[*_LISTING_TO_DELETE, *_DELETING],
                ),
                "requestBody": _body(DELETE_OPTIONS, (JSON, YAML), required=False),
            },
        )

    def item(self) -> Iterator[tuple[str, Document]]:
        name = self._kind.name
        yield from self._read_and_write(name, "", f"the specified {name}")
        yield (
            "delete",
            {
                **self._operation(
                    "delete", f"{self._scope}{name}", "delete", f"delete {_a(name)}", STATUS, parameters=_DELETING
                ),
                "requestBody": _body(DELETE_OPTIONS, (JSON, YAML), required=False),
                "responses": {code: _answer(code, self._deleted()) for code in ("200", "202")} | _REFUSED,
            },
        )

    def below(self, subresource: Subresource) -> Iterator[tuple[str, Document]]:
        """A subresource: status is read and written like the object; of others, the verbs that are declared."""
        name, suffix = self._kind.name, subresource.name.capitalize()
        if subresource.name == "status" and has_status(self._kind):
            yield from self._read_and_write(name, suffix, f"status of the specified {name}")
            return
        of_kind = Naming(subresource.group_version or self._naming.group_version)
        rest = f"{self._scope}{name}{suffix}"
        what = f"{subresource.name} of the specified {name}"
        if "get" in subresource.verbs:
            answer = {"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}}
            read = self._operation("read", rest, "get", f"read {what}", self._object)
            yield "get", {**read, "responses": answer | _REFUSED}
        if "create" in subresource.verbs:
            body = of_kind.schema(subresource.kind)
            answered = STATUS if subresource.asks is None else body
            create = self._operation("create", rest, "post", f"create {what}", answered, parameters=_WRITING, new=True)
            gvk = of_kind.gvk(subresource.kind)
            yield "post", {**create, "requestBody": _body(body, (JSON, YAML)), "x-kubernetes-group-version-kind": gvk}

    def _deleted(self) -> Document:
        """The object first: who tries one after the other would find a Status in nearly every object."""
        return {
            "description": f"The {self._kind.name} while something keeps it, or a Status once it is gone.",
            "anyOf": [reference(self._object), reference(STATUS)],
        }

    def list_everywhere(self) -> Document:
        name = self._kind.name
        what = f"list or watch objects of kind {name}"
        return self._operation("list", f"{name}ForAllNamespaces", "list", what, self._list)

    def watch(self) -> Document:
        name = self._kind.name
        what = f"watch changes to an object of kind {name}."
        return self._operation("watch", f"{self._scope}{name}", "watch", what, WATCH_EVENT)

    def watch_list(self) -> Document:
        name = self._kind.name
        what = f"watch individual changes to a list of {name}."
        return self._operation("watch", f"{self._scope}{name}List", "watchlist", what, WATCH_EVENT)

    def watch_everywhere(self) -> Document:
        name = self._kind.name
        what = f"watch individual changes to a list of {name}."
        return self._operation("watch", f"{name}ListForAllNamespaces", "watchlist", what, WATCH_EVENT)

    def _read_and_write(self, name: str, suffix: str, what: str) -> Iterator[tuple[str, Document]]:
        rest = f"{self._scope}{name}{suffix}"
        yield "get", self._operation("read", rest, "get", f"read {what}", self._object)
        yield (
            "put",
            {
                **self._operation("replace", rest, "put", f"replace {what}", self._object, parameters=_WRITING),
                "requestBody": _body(self._object, (JSON, YAML)),
            },
        )
        yield (
            "patch",
            {
                **self._operation(
                    "patch", rest, "patch", f"partially update {what}", self._object, parameters=[*_WRITING, _FORCE]
                ),
                "requestBody": {"content": self._patches(), "required": True},
            },
        )

    def _patches(self) -> Document:
        schemas = {**PATCHES, **(STRATEGIC if self._kind.typed else {}), **APPLY}
        return {media: {"schema": schema} for media, schema in schemas.items()}

    def _operation(
        self,
        verb: str,
        rest: str,
        action: str,
        description: str,
        answer: str,
        *,
        parameters: list[Document] | None = None,
        new: bool = False,
    ) -> Document:
        operation: Document = {
            "tags": [self._naming.tag],
            "description": description,
            "operationId": self._naming.operation(verb, rest),
        }
        if parameters:
            operation["parameters"] = parameters
        codes = ("200", "201", "202") if new else ("200", "201") if action in ("put", "patch") else ("200",)
        return {
            **operation,
            "responses": {code: _answer(code, reference(answer)) for code in codes} | _REFUSED,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self._naming.gvk(self._kind.name),
        }


_WORDS = {"200": "OK", "201": "Created", "202": "Accepted"}
_FAILURE: Document = {"content": {JSON: {"schema": reference(STATUS)}}}
_REFUSED: Document = {
    "401": {"description": "Unauthorized", **_FAILURE},
    "default": {"description": "Refused, or failed", **_FAILURE},
}


def _answer(code: str, schema: Document) -> Document:
    return {"description": _WORDS[code], "content": {media: {"schema": schema} for media in (JSON, YAML)}}


def _body(schema: str, media_types: tuple[str, ...], *, required: bool = True) -> Document:
    body: Document = {"content": {media: {"schema": reference(schema)} for media in media_types}}
    return {**body, "required": True} if required else body


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def _path_parameter(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, type_: str, description: str) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": {"type": type_}}


_NAMESPACE = {
    **_path_parameter("namespace"),
    "description": "object name and auth scope, such as for teams and projects",
}
_PRETTY = _query("pretty", "string", "If 'true', then the output is pretty printed.")
_DRY_RUN = _query("dryRun", "string", "All: judge the request and answer as if it had been done, but write nothing.")
_WRITING = [
    _DRY_RUN,
    _query("fieldManager", "string", "The name of the actor that makes these changes."),
    _query(
        "fieldValidation",
        "string",
        "What happens to unknown and duplicate fields: Ignore drops them, Warn drops them and warns, "
        "Strict refuses the request.",
    ),
]
_FORCE = _query("force", "boolean", "Only for apply patches.")
_LISTING_TO_DELETE = [
    _query("continue", "string", "The token of the former part of the list."),
    _query("fieldSelector", "string", "Restricts the list to objects with these fields."),
    _query("labelSelector", "string", "Restricts the list to objects with these labels."),
    _query("limit", "integer", "The largest number of objects in one answer."),
    _query("resourceVersion", "string", "The version of the store from which to read."),
    _query("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    _query("sendInitialEvents", "boolean", "Begin a watch with the present state."),
    _query("timeoutSeconds", "integer", "When the answer ends, whatever is missing."),
]
_LISTING = [
    _query("allowWatchBookmarks", "boolean", "Send bookmarks: how far a watch has come."),
    *_LISTING_TO_DELETE,
    _query("watch", "boolean", "Watch for changes, and answer with a stream of them."),
]
_DELETING = [
    _DRY_RUN,
    _query("gracePeriodSeconds", "integer", "Seconds before the object is deleted; 0 is at once."),
    _query("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    _query("propagationPolicy", "string", "What happens to dependents: Orphan, Background or Foreground."),
]
