"""What differs on purpose, each with its reason. A rewrite is made of both sides' answers, so that the rest is still compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.kinds import ALL
from app.machinery.objects import Document
from tests.fidelity.definitions import computed_columns
from tests.fidelity.normal import Normal

Rewrite = Callable[[Normal], Normal]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that is meant."""

    name: str
    reason: str
    rewrite: Rewrite


@dataclass(frozen=True, slots=True)
class Waived:
    """A difference that is meant, seen by the two answers: the rest of them is not compared."""

    name: str
    reason: str
    holds: Callable[[str, Normal, Normal], bool]
    """Of the request's line, the reference's answer and Drover's."""
    ends: bool = False
    """What one of them did and the other did not shows in the rest of the case: that is not compared either."""


def in_body(change: Callable[[Document], Document]) -> Rewrite:
    """A rewrite of every object in the body, innermost first."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return change({name: walk(below) for name, below in value.items()})
        return value

    return lambda answer: replace(answer, body=walk(answer.body))


_LINK_IN_TEXT = re.compile(r'\\*"selfLink\\*":\\*"[^"\\]*\\*",?')


def _linkless(document: Document) -> Document:
    """Where an error shows an object, too."""
    said = {name: value for name, value in document.items() if name != "selfLink"}
    return {**said, "message": _LINK_IN_TEXT.sub("", said["message"])} if isinstance(said.get("message"), str) else said


_COMPUTED = frozenset((*computed_columns(), "CPU", "Memory", "URI"))
"""And those of a Node that say what of it guests may have, and where its libvirt is."""


def _plain_columns(document: Document) -> Document:
    """A Table without the columns that cannot be declared."""
    if document.get("kind") != "Table" or not document.get("columnDefinitions"):
        return document
    columns = document["columnDefinitions"]
    keep = [index for index, column in enumerate(columns) if column["name"] not in _COMPUTED]
    rows = [
        {**row, "cells": [row["cells"][index] for index in keep if index < len(row["cells"])]}
        for row in document["rows"]
    ]
    return {**document, "columnDefinitions": [columns[index] for index in keep], "rows": rows}


_OWN = frozenset(finalizer for kind in ALL for finalizer in kind.finalizers)


def _own_finalizers(document: Document) -> Document:
    """Metadata without the finalizers that Drover puts on by itself, and managedFields in which nobody owns them."""
    said = {**document}
    if isinstance(said.get("finalizers"), list):
        said["finalizers"] = [name for name in said["finalizers"] if name not in _OWN]
    if said.get("f:finalizers"):
        owned = said["f:finalizers"]
        left = {name: value for name, value in owned.items() if name[3:-1] not in {*_OWN, ""}}
        said = {name: value for name, value in said.items() if name != "f:finalizers"} | (
            {"f:finalizers": left} if left else {}
        )
    if isinstance(said.get("message"), str):
        said["message"] = _OWN_IN_TEXT.sub("", said["message"])
    return _without_empty(said, "finalizers", "f:finalizers", "f:metadata", "f:spec")


_NAMES = "|".join(map(re.escape, sorted(_OWN)))
_OWN_IN_TEXT = re.compile(
    rf'\\*"f:finalizers\\*":\{{\\*"\.\\*":\{{\}},\\*"v:\\*"(?:{_NAMES})\\*"\\*":\{{\}}\}},?|,\\*"(?:{_NAMES})\\*"'
)
"""Where an error shows an object or its finalizers."""


def _without_empty(document: Document, *names: str) -> Document:
    return {name: value for name, value in document.items() if name not in names or value not in ({}, [], {".": {}})}


def _untainted(document: Document) -> Document:
    """A Node without the taint of those that were never ready."""
    if not isinstance(document.get("taints"), list):
        return document
    left = [
        taint
        for taint in document["taints"]
        if taint != {"effect": "NoSchedule", "key": "node.kubernetes.io/not-ready"}
    ]
    return _without_empty({**document, "taints": left}, "taints")


def _no_worker(answer: Normal) -> Normal:
    kept = tuple(header for header in answer.headers if "no worker has run" not in header[1])
    return replace(answer, headers=kept)


def _said_columns(document: Document) -> Document:
    """Columns without their descriptions, which are Drover's own; a watch's later rows, whose columns are not told."""
    if document.get("kind") != "Table":
        return document
    columns = [{**column, "description": ""} for column in document.get("columnDefinitions") or ()]
    rows = document["rows"] if columns else [{**row, "cells": "<cells>"} for row in document["rows"]]
    return {**document, "columnDefinitions": columns, "rows": rows}


def _said_wrong(document: Document) -> Document:
    message = document.get("message")
    if not isinstance(message, str):
        return document
    return {**document, "message": re.sub(r"json parse error: .*?(?= \(|$)", "json parse error: <words>", message)}


def _empty_list(document: Document) -> Document:
    if document.get("kind") == "PartialObjectMetadataList" and document.get("items", ()) is None:
        return {**document, "items": []}
    return document


_PLURALS = frozenset(kind.plural for kind in ALL)
_GROUPS = frozenset(version.group for kind in ALL for version in kind.served)


def _common_resources(document: Document) -> Document:
    """Discovery of what both serve."""
    if document.get("kind") == "APIResourceList" and "resources" in document:
        kept = [entry for entry in document["resources"] if _is_common(document["groupVersion"], entry["name"])]
        return {**document, "resources": sorted(kept, key=lambda entry: str(entry["name"]))}
    if document.get("kind") == "APIGroupList" and "groups" in document:
        kept = [group for group in document["groups"] if group["name"] in _GROUPS]
        return {**document, "groups": sorted(kept, key=lambda group: str(group["name"]))}
    if document.get("kind") == "APIGroupDiscoveryList" and "items" in document:
        return {**document, "items": [_common_group(group) for group in document["items"] if _name(group) in _GROUPS]}
    return document


def _name(group: Document) -> str:
    return str(group["metadata"].get("name", ""))


def _common_group(group: Document) -> Document:
    """Of a version only the resources that both serve, without their subresources."""
    versions = []
    for version in group["versions"]:
        group_version = f"{_name(group)}/{version['version']}".removeprefix("/")
        kept = [
            {name: value for name, value in entry.items() if name != "subresources"}
            for entry in version["resources"]
            if _is_common(group_version, entry["resource"])
        ]
        versions.append({**version, "resources": sorted(kept, key=lambda entry: str(entry["resource"]))})
    return {**group, "versions": versions}


def _is_common(group_version: str, name: str) -> bool:
    plural, _, below = name.partition("/")
    here = any(str(version) == group_version and kind.plural == plural for kind in ALL for version in kind.served)
    foreign = group_version == "kubevirt.io/v1alpha1" and plural in ("nodes", "pods")
    return here and not foreign and below in ("", "status", "eviction", "finalize", "log", "token")


def _served_by(document: Document) -> Document:
    """What a server made by itself is its own, by its name."""
    made = document.get("manager") in ("kube-apiserver", "drover") and "fieldsType" in document
    return {**document, "manager": "<the server>"} if made else document


def _release(document: Document) -> Document:
    """The version of a release is its own."""
    return {"major": document["major"], "minor": document["minor"]} if "gitVersion" in document else document


def _hostname(document: Document) -> Document:
    names = ("kubernetes.io/hostname", "f:kubernetes.io/hostname")
    left = {name: value for name, value in document.items() if name not in names}
    return _without_empty(left, "labels", "f:labels", "f:metadata")


def _bookmarks(answer: Normal) -> Normal:
    """Events without the bookmarks that only tell how far the watch has come."""
    if not isinstance(answer.body, list):
        return answer
    return replace(answer, body=[event for event in answer.body if not _only_tells_time(event)])


def _only_tells_time(event: Document) -> bool:
    return event.get("type") == "BOOKMARK" and "annotations" not in str(event)


ACCEPTED: Sequence[Accepted] = (
    Accepted("selfLink", "Drover fills metadata.selfLink on every object and list", in_body(_linkless)),
    Accepted("bookmarks", "when a bookmark comes is each one's own", _bookmarks),
    Accepted("taint", "kube-apiserver taints new nodes; Drover looks at their condition", in_body(_untainted)),
    Accepted("no worker", "Drover without workers warns of it on writes", _no_worker),
    Accepted(
        "finalizers",
        "Drover puts its finalizers on its kinds by itself, and nobody owns them",
        in_body(_own_finalizers),
    ),
    Accepted("column texts", "Drover describes its columns in its own words", in_body(_said_columns)),
    Accepted(
        "json words",
        "how a broken JSON text is called depends on the Go that built kube-apiserver",
        in_body(_said_wrong),
    ),
    Accepted("empty lists", "a list that is empty is [], of metadata too", in_body(_empty_list)),
    Accepted("discovery", "only what both serve is compared", in_body(_common_resources)),
    Accepted("server", "what a server made by itself says so by its name", in_body(_served_by)),
    Accepted("version", "a release has its own version", in_body(_release)),
    Accepted("hostname", "a Node is labelled with its name", in_body(_hostname)),
    Accepted(
        "columns",
        "a CustomResourceDefinition has no columns that are computed, and a Node has some of its own",
        in_body(_plain_columns),
    ),
)


def _text(answer: Normal) -> str:
    return answer.text()


def _own_rule(_: str, __: Normal, mine: Normal) -> bool:
    own = (
        "a running guest keeps its definition",
        "one of domain and domainXML",
        "the host's libvirt URI",
        "must be a libvirt URI",
        "pods cannot be made",
        "a lowercase RFC 1123 label must consist",
    )
    return mine.code in (403, 422) and any(text in _text(mine) for text in own)


def _forgot_owners(_: str, theirs: Normal, mine: Normal) -> bool:
    owned = ("managedFields" in _text(theirs), "managedFields" in _text(mine))
    return theirs.code == mine.code and theirs.code in (200, 201) and owned == (False, True)


WAIVED: Sequence[Waived] = (
    Waived(
        "mistakes",
        "kube-apiserver answers 500, or hangs up, where the request is wrong; Drover says 4xx",
        lambda _, theirs, mine: theirs.code in (0, 500) and 400 <= mine.code < 500,
    ),
    Waived(
        "methods",
        "Drover's HTTP parser refuses methods that HTTP does not know",
        lambda _, __, mine: mine.body == "Invalid HTTP request received.",
    ),
    Waived("own rules", "a kind's own rules are not in its schema", _own_rule, ends=True),
    Waived(
        "forgotten owners",
        "kube-apiserver calls it what should not happen: it forgets owners over a field that it takes out by itself",
        _forgot_owners,
        ends=True,
    ),
    Waived(
        "preview",
        "a dry run of a Migration tells what would become of it",
        lambda asked, theirs, mine: (
            asked.startswith("POST") and "/migrations?" in asked and "dryRun=All" in asked and theirs.code == mine.code
        ),
    ),
    Waived(
        "no namespace",
        "a path with an empty step names nothing; in kube-apiserver's core group alone it is every namespace",
        lambda asked, _, mine: "/namespaces//" in asked and mine.code == 404,
    ),
    Waived(
        "tokens",
        "what stands in a continue token is each one's own: Drover takes back what it gave, and nothing else",
        lambda asked, _, mine: "continue=eyJ" in asked and mine.code == 400,
    ),
    Waived(
        "lists of metadata",
        "kube-apiserver ends a watch that asks for lists of metadata at its first event; Drover tells the metadata",
        lambda asked, theirs, _: "watch=1" in asked and theirs.code == 200 and theirs.form == "nothing",
    ),
    Waived(
        "compacted",
        "a young store of Drover's still has what the reference has compacted",
        lambda _, theirs, mine: (
            mine.code in (200, 409) and any(text in _text(theirs) for text in ("too old resource", "is too old"))
        ),
    ),
    Waived(
        "not served",
        "what is served at all, and who issues tokens, is each one's own",
        lambda asked, _, __: (
            asked.endswith(("/.well-known/openid-configuration", " /")) or "/apis/events.k8s.io" in asked
        ),
    ),
    Waived(
        "own documents",
        "what is measured, checked and described is each one's own",
        lambda asked, theirs, mine: (
            any(path in asked for path in (" /metrics", " /openapi/", " /readyz?verbose")) and theirs.code == mine.code
        ),
    ),
    Waived(
        "limit at 0",
        "a list at resourceVersion 0 keeps its limit, which kube-apiserver's cache ignores",
        lambda asked, _, __: "resourceVersion=0" in asked and "limit=" in asked,
    ),
)
