"""From a request to what it asks for: kube-apiserver's RequestInfo, in the words that roles use.

What is served is judged by the very route that serves it, so that no odd spelling of a path is one thing to the judge and
another to the handler; only what leads nowhere is taken apart here by itself.
"""

from __future__ import annotations

from app.api.requests import Request, flag
from app.api.routes import Target
from app.machinery.access import Attributes
from app.machinery.names import path_segment
from app.machinery.selectors import exact_name

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_BELOW_NAMESPACES = ("status", "finalize")


def attributes_of(target: Target | None, request: Request) -> Attributes:
    """`target` is where the request leads; None for what is no resource of a kind."""
    return _of_path(request) if target is None else _of_target(target, request)


def _of_target(target: Target, request: Request) -> Attributes:
    kind, version = target.kind, target.served.group_version
    namespace = target.namespace or ""
    if kind.contains:  # a Namespace is in itself, as in Kubernetes: a role in it may give it
        namespace = target.name
    verb, name = _verb(request, target.name, watch=target.watch)
    if verb == "create" and not target.subresource:
        name = ""  # what is made is named by the body, whatever the path says
    return Attributes(
        verb, version.group, version.version, kind.plural, target.subresource, name, namespace, request.path
    )


def _verb(request: Request, name: str, *, watch: bool) -> tuple[str, str]:
    """The verb, and the name: a list or watch of one object by its name is about that one."""
    if watch:
        return "watch", name
    verb = _VERBS.get(request.method, "")
    if name:
        return verb, name
    if verb == "get":
        watches = request.method != "HEAD" and flag(request.parameters, "watch")
        return "watch" if watches else "list", _selected(request)
    return "deletecollection" if verb == "delete" else verb, ""


def _selected(request: Request) -> str:
    fields = request.parameters.get("fieldSelector", "")
    name = exact_name(fields) if fields else ""
    return "" if any(path_segment(name)) else name


def _of_path(request: Request) -> Attributes:
    path = request.path
    steps = [step for step in path.split("/") if step]
    if len(steps) < 3 or steps[0] not in ("api", "apis") or (steps[0] == "apis" and len(steps) < 4):
        return Attributes(request.method.lower(), path=path)
    group, version, rest = ("", steps[1], steps[2:]) if steps[0] == "api" else (steps[1], steps[2], steps[3:])
    watch = len(rest) > 1 and rest[0] == "watch"
    if watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _BELOW_NAMESPACES:
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    verb, name = _verb(request, name, watch=watch)
    return Attributes(verb, group, version, resource, "" if watch else subresource, name, namespace, path)
