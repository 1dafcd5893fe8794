"""A row of the table: a request, perhaps one before it, and what must be in the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import yaml

from app.machinery.protobuf import of_protobuf

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIALS = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
KUBECTL_DISCOVERS = f"{AGGREGATED},{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json"
KUBECTL_PRINTS = f"{TABLE},{TABLE.replace('v=v1', 'v=v1beta1')},application/json"

NOT_FOUND_TEXT = "404 page not found\n"
NO_RESOURCE = "the server could not find the requested resource"
NO_METHOD = "the server does not allow this method on the requested resource"
OUTDATED = "the object has been modified; please apply your changes to the latest version and try again"
ACCEPTABLE = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
UNACCEPTABLE = f"only the following media types are accepted: {ACCEPTABLE}"
UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include: "
NEVER = 99_999_999


@dataclass(frozen=True)
class Row:
    """A request and what must be in its answer. `{rv}` and the like are filled in from the world's facts."""

    ask: str
    """Method and path with query."""
    code: int = 200
    reason: str = ""
    says: str = ""
    """The message, or its beginning when it ends in an ellipsis."""
    body: Any = None
    type: str = "application/json"
    accept: str = "application/json"
    agent: str = "tests/1"
    sends: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the request."""
    after: Sequence[Row] = ()
    """Requests before it, whose answers only have to be successes."""
    has: Mapping[str, Any] = field(default_factory=dict)
    """Values at dotted paths; KeyError: there must be nothing."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Headers of the answer; None: there must be none. A beginning when it ends in an ellipsis."""
    equals: Any = None
    """The whole body."""
    text: str | None = None
    """The body as text; a beginning when it ends in an ellipsis."""
    events: Sequence[str] | None = None
    """Of a watch: type and name of each event."""
    warns: Sequence[str] = ()
    """The texts of the Warning headers."""

    @property
    def harmless(self) -> bool:
        """Whether it changes nothing, so that others may see the same world."""
        return not self.after and (self.code >= 400 or self.ask.startswith(("GET", "HEAD")) or "dryRun=All" in self.ask)


def refused(code: int, reason: str, says: str) -> dict[str, Any]:
    return {"code": code, "reason": reason, "says": says}


def bad(says: str) -> dict[str, Any]:
    return refused(400, "BadRequest", says)


def invalid(says: str) -> dict[str, Any]:
    return refused(422, "Invalid", says)


def absent(resource: str, name: str) -> dict[str, Any]:
    return refused(404, "NotFound", f'{resource} "{name}" not found')


def no_vm(name: str) -> dict[str, Any]:
    return absent("virtualmachines.kubevirt.io", name)


def outdated(resource: str, name: str) -> dict[str, Any]:
    return refused(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {OUTDATED}')


def option(field_: str, why: str, kind: str = "ListOptions") -> dict[str, Any]:
    """One wrong option, with its cause."""
    reason = _REASONS[why.split(":")[0].split(" of")[0]]
    return {
        **invalid(f'{kind}.meta.k8s.io "" is invalid: {field_}: {why}'),
        "has": {
            "details": {
                "group": "meta.k8s.io",
                "kind": kind,
                "causes": [{"reason": reason, "message": why, "field": field_}],
            }
        },
    }


_REASONS = {
    "Forbidden": "FieldValueForbidden",
    "Unsupported value": "FieldValueNotSupported",
    "Required value": "FieldValueRequired",
    "Invalid value": "FieldValueInvalid",
    "Too long": "FieldValueTooLong",
}


def options(*errors: str, kind: str = "ListOptions") -> dict[str, Any]:
    """Several wrong options."""
    return invalid(f'{kind}.meta.k8s.io "" is invalid: [{", ".join(errors)}]')


def vm_is(name: str, *errors: str) -> dict[str, Any]:
    """A VirtualMachine that is invalid."""
    listed = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return invalid(f'VirtualMachine.kubevirt.io "{name}" is invalid: {listed}')


async def asked(client: httpx.AsyncClient, row: Row, facts: Mapping[str, str]) -> httpx.Response:
    """Sends the row's request. Asserts that those before it succeed."""
    for earlier in row.after:
        before = await _sent(client, earlier, facts)
        assert before.is_success, f"{earlier.ask}: {before.text}"
    return await _sent(client, row, facts)


async def _sent(client: httpx.AsyncClient, row: Row, facts: Mapping[str, str]) -> httpx.Response:
    method, path = _filled(row.ask, facts).split(" ", 1)
    headers = {"accept": row.accept, "user-agent": row.agent, **row.sends}
    if row.type and row.body is not None:
        headers["content-type"] = row.type
    body = row.body if isinstance(row.body, str | bytes) or row.body is None else json.dumps(row.body)
    return await client.request(
        method, path, content=_filled(body, facts) if isinstance(body, str) else body, headers=headers
    )


def _filled(text: str, facts: Mapping[str, str]) -> str:
    for name, value in facts.items():
        text = text.replace(f"<{name}>", value)
    return text


def problems(row: Row, answer: httpx.Response, facts: Mapping[str, str]) -> list[str]:
    """Where the answer differs from the row."""
    return [f"{row.ask}  {_short(row.body)}\n    {problem}" for problem in _problems(row, answer, facts)]


def _short(body: Any) -> str:
    return "" if body is None else str(body)[:160]


def _problems(row: Row, answer: httpx.Response, facts: Mapping[str, str]) -> list[str]:
    if answer.status_code != row.code:
        return [f"{answer.status_code} instead of {row.code}: {answer.text[:600]}"]
    found = []
    said = _decoded(answer)
    if (row.reason or row.says) and said.get("kind") != "Status":
        found.append(f"no Status: {answer.text[:200]}")
    if row.says and not _matches(said.get("message", ""), _filled(row.says, facts)):
        found.append(f"it says: {said.get('message')}\n    instead of {row.says}")
    if row.reason and said.get("reason") != row.reason:
        found.append(f"its reason is {said.get('reason')}")
    for path, value in row.has.items():
        if at(said, path) != _expected(value, facts):
            found.append(f"{path} is {at(said, path)!r}, not {value!r}")
    for name, value in row.headers.items():
        if not _matches(answer.headers.get(name), value):
            found.append(f"{name} is {answer.headers.get(name)}")
    warned = [value.removeprefix('299 - "').removesuffix('"') for value in answer.headers.get_list("warning")]
    if [text.replace('\\"', '"') for text in warned] != list(row.warns):
        found.append(f"it warns of {warned}")
    if row.equals is not None and said != row.equals:
        found.append(f"it is {said}")
    if row.text is not None and not _matches(answer.text, row.text):
        found.append(f"it is {answer.text[:200]!r}")
    if row.events is not None and _events(answer.text) != list(row.events):
        found.append(f"events are {_events(answer.text)}")
    return found


def _decoded(answer: httpx.Response) -> Any:
    """Its document; of a watch the first event."""
    type_ = answer.headers.get("content-type", "")
    if "yaml" in type_:
        return yaml.safe_load(answer.content)
    if type_ == PROTOBUF:
        return of_protobuf(answer.content)
    if not answer.content or "json" not in type_:
        return {}
    try:
        return answer.json()
    except ValueError:
        return json.loads(answer.text.splitlines()[0])


def _expected(value: Any, facts: Mapping[str, str]) -> Any:
    return _filled(value, facts) if isinstance(value, str) else value


def _events(text: str) -> list[str]:
    events = [json.loads(line) for line in text.splitlines()]
    return [f"{event['type']} {event['object'].get('metadata', {}).get('name', '')}".strip() for event in events]


def _matches(said: str | None, expected: str | None) -> bool:
    if said is None or expected is None:
        return said is expected
    return said.startswith(expected[:-1]) if expected.endswith("…") else said == expected


def at(document: Any, path: str) -> Any:
    """The value at a dotted path: `a.0.b`, or `a.name.b` for the item of a list that has this name. KeyError itself
    where there is none."""
    for step in path.split("."):
        try:
            document = _item(document, step) if isinstance(document, list) else document[step]
        except (KeyError, IndexError, TypeError):
            return KeyError
    return document


def _item(items: list[Any], step: str) -> Any:
    if step.isdigit():
        return items[int(step)]
    return next((item for item in items if step in (item.get("name"), item.get("resource"))), {})
