"""Values by their schema, as structured merge sees them: what an object owns, how two differ, what a merge makes of them.

Compiled once per schema. Three sorts of type: a leaf is replaced as a whole (scalars, and whatever is declared atomic);
a map is merged field by field; a list of type set or map is merged item by item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

from app.machinery.decoding import AMOUNTS
from app.machinery.fieldset import SELF, FieldSet, is_member, item_by_keys, item_by_value, node_of, shown, union
from app.machinery.go_json import quoted
from app.machinery.kind import Kind
from app.machinery.objects import Document
from app.machinery.patch import same
from app.machinery.printed import literal, plain, type_word
from app.machinery.schema import schema_of, type_name
from app.machinery.values import value

ABSENT: Any = object()
"""What is not there: null is."""


@value()
class Comparison:
    """How a later value differs from an earlier one: paths that came, changed, went."""

    added: FieldSet = field(default_factory=dict)
    modified: FieldSet = field(default_factory=dict)
    removed: FieldSet = field(default_factory=dict)

    @property
    def changed(self) -> FieldSet:
        return union(self.added, self.modified)

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


class Type(Protocol):
    """One type of value. Where a node is None there is nothing to say about the value's own path or any below."""

    def problems(self, value: Any, path: str) -> Iterator[str]:
        """Why the value is not of this type."""

    def owned(self, value: Any) -> FieldSet | None:
        """What somebody owns who applies the value: its leaves, and the items of its lists and open maps."""

    def every(self, value: Any) -> FieldSet:
        """Every path of the value, its own and its containers' too."""

    def differ(self, old: Any, new: Any, into: _Nodes) -> None:
        """What differs, where both are there."""

    def merged(self, old: Any, new: Any) -> Any:
        """`new` upon `old`, either of which may be absent: what `new` does not say stays."""

    def pruned(self, value: Any, last: FieldSet, kept: FieldSet | None) -> Any:
        """The value without what is in `last` and not in `kept`; what is in neither stays. ABSENT when nothing is left
        of what nobody keeps."""


@dataclass(slots=True)
class _Nodes:
    """What has been found below one path; None for nothing."""

    added: FieldSet | None = None
    modified: FieldSet | None = None
    removed: FieldSet | None = None

    def take(self, step: str, below: _Nodes) -> None:
        if below.added is not None:
            self.added = self.added if self.added is not None else {}
            self.added[step] = below.added
        if below.modified is not None:
            self.modified = self.modified if self.modified is not None else {}
            self.modified[step] = below.modified
        if below.removed is not None:
            self.removed = self.removed if self.removed is not None else {}
            self.removed[step] = below.removed


def _child(kind: Type, old: Any, new: Any) -> _Nodes:
    """What differs between two values, at most one of which is absent."""
    if old is ABSENT:
        return _Nodes(added=kind.every(new))
    if new is ABSENT:
        return _Nodes(removed=kind.every(old))
    nodes = _Nodes()
    kind.differ(old, new, nodes)
    return nodes


def compare(kind: Type, old: Any, new: Any) -> Comparison:
    """How two objects of a type differ. Nothing is said about the root itself."""
    nodes = _child(kind, old, new)
    return Comparison(nodes.added or {}, nodes.modified or {}, nodes.removed or {})


def _leaf_differs(old: Any, new: Any, into: _Nodes) -> None:
    if not same(old, new):
        into.modified = {}


def _goes(last: FieldSet, kept: FieldSet | None) -> bool:
    """Was it owned, and does nobody own it now?"""
    return is_member(last) and (kept is None or not is_member(kept))


def _latest(old: Any, new: Any) -> Any:
    return old if new is ABSENT else new


@dataclass(frozen=True, slots=True)
class Leaf:
    """Owned and replaced as a whole."""

    types: tuple[str, ...] = ()
    """JSON's words for what it may be; empty: anything."""
    word: str = ""

    def problems(self, value: Any, path: str) -> Iterator[str]:
        if value is not None and self.types and type_name(value) not in self.types:
            yield f"{path}: expected {self.word}, got {self._shown(value)}"

    def _shown(self, value: Any) -> str:
        if self.word in ("map", "list", "boolean"):
            return f"&{{{plain(value)}}}"
        if self.word == "string":
            return f"&value.valueUnstructured{{Value:{literal(value)}}}"
        return type_word(value)

    def owned(self, value: Any) -> FieldSet | None:
        return {}

    def every(self, value: Any) -> FieldSet:
        return {}

    def differ(self, old: Any, new: Any, into: _Nodes) -> None:
        _leaf_differs(old, new, into)

    def merged(self, old: Any, new: Any) -> Any:
        return _latest(old, new)

    def pruned(self, value: Any, last: FieldSet, kept: FieldSet | None) -> Any:
        return ABSENT if _goes(last, kept) else value


@dataclass(frozen=True, slots=True)
class Map:
    """Merged by its members: the declared ones, and others where `rest` says of what type they are."""

    declared: Mapping[str, Type]
    rest: Type | None = None

    def problems(self, value: Any, path: str) -> Iterator[str]:
        if value is None:
            return
        if not isinstance(value, dict):
            yield f"{path}: expected map, got &{{{plain(value)}}}"
            return
        for name, item in value.items():
            below = self.declared.get(name, self.rest)
            if below is None:
                yield f"{path}.{name}: field not declared in schema"
            else:
                yield from below.problems(item, f"{path}.{name}")

    def owned(self, value: Any) -> FieldSet | None:
        children: FieldSet = {}
        for name, item in (value or {}).items():
            node = self._owned_item(name, item)
            if node is not None:
                children["f:" + name] = node
        return children or None

    def _owned_item(self, name: str, item: Any) -> FieldSet | None:
        if item is None or item == {}:
            return {}
        declared = self.declared.get(name)
        if declared is not None:
            return declared.owned(item)
        return node_of(self._of(name).owned(item) or {}, member=True)

    def every(self, value: Any) -> FieldSet:
        if not value:
            return {}
        node: FieldSet = {SELF: {}}
        declared, rest = self.declared, self.rest or ANYTHING
        for name, item in value.items():
            node["f:" + name] = declared.get(name, rest).every(item)
        return node

    def differ(self, old: Any, new: Any, into: _Nodes) -> None:
        if not old and not new:
            _leaf_differs(old, new, into)
            return
        old, new = old or {}, new or {}
        for name in {**old, **new}:
            into.take("f:" + name, _child(self._of(name), old.get(name, ABSENT), new.get(name, ABSENT)))

    def merged(self, old: Any, new: Any) -> Any:
        if not (_some(old) and _some(new)):
            return _fuller(old, new)
        return {name: self._of(name).merged(old.get(name, ABSENT), new.get(name, ABSENT)) for name in {**old, **new}}

    def pruned(self, value: Any, last: FieldSet, kept: FieldSet | None) -> Any:
        left: Document = {}
        for name, item in (value or {}).items():
            step = "f:" + name
            below = self._pruned_item(name, item, last.get(step), (kept or {}).get(step))
            if below is not ABSENT:
                left[name] = below
        return left if left or kept is not None else ABSENT

    def _pruned_item(self, name: str, item: Any, last: FieldSet | None, kept: FieldSet | None) -> Any:
        if last is None:
            return item
        if name not in self.declared and _goes(last, kept):
            # An entry of an open map goes as a whole, as an item of a list does.
            return ABSENT
        return self._of(name).pruned(item, last, kept)

    def _of(self, name: str) -> Type:
        return self.declared.get(name) or self.rest or ANYTHING


@dataclass(frozen=True, slots=True)
class Items:
    """A list that is merged item by item, by the items' keys or, without keys, by the items themselves."""

    item: Type
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def problems(self, value: Any, path: str) -> Iterator[str]:
        if value is None:
            return
        if not isinstance(value, list):
            yield f"{path}: expected list, got &{{{plain(value)}}}"
            return
        seen: set[str] = set()
        for index, item in enumerate(value):
            wrong = self._unnamed(item)
            if wrong:
                yield f"{path}: element {index}: {wrong}"
                continue
            step = self._step(item)
            where = shown((step,))
            if step in seen:
                yield f"{path}: duplicate entries for key {where}"
            seen.add(step)
            yield from self.item.problems(item, path + where)

    def _unnamed(self, item: Any) -> str:
        """Why the item cannot be told from others; empty when it can."""
        if not self.keys:
            sorts = {"object": "a map type", "array": "a list type", "null": "an explicit null"}
            sort = sorts.get(type_name(item))
            return f"associative list without keys has an element that's {sort}" if sort else ""
        if item is None:
            return "associative list with keys may not have a null element"
        if not isinstance(item, dict):
            return "associative list with keys may not have non-map elements"
        if any(key in item or key in self.defaults for key in self.keys):
            return ""
        keys = " ".join(map(quoted, self.keys))
        omits = f"associative list with keys has an element that omits all key fields [{keys}]"
        return f"{omits} (and doesn't have default values for any key fields)"

    def _step(self, item: Any) -> str:
        if not self.keys:
            return item_by_value(item)
        if not isinstance(item, dict):
            return item_by_keys({})
        return item_by_keys(
            {key: item.get(key, self.defaults.get(key)) for key in self.keys if key in item or key in self.defaults}
        )

    def _indexed(self, value: Any) -> dict[str, Any]:
        """By their steps; of several alike the first."""
        indexed: dict[str, Any] = {}
        for item in value or ():
            indexed.setdefault(self._step(item), item)
        return indexed

    def owned(self, value: Any) -> FieldSet | None:
        steps = self._indexed(value).items()
        return {step: node_of(self.item.owned(item) or {}, member=True) for step, item in steps} or None

    def every(self, value: Any) -> FieldSet:
        if not value:
            return {}
        return {SELF: {}, **{step: self.item.every(item) for step, item in self._indexed(value).items()}}

    def differ(self, old: Any, new: Any, into: _Nodes) -> None:
        if not old and not new:
            _leaf_differs(old, new, into)
            return
        before, after = self._indexed(old), self._indexed(new)
        for step in {**before, **after}:
            into.take(step, _child(self.item, before.get(step, ABSENT), after.get(step, ABSENT)))

    def merged(self, old: Any, new: Any) -> Any:
        if not (_some(old) and _some(new)):
            return _fuller(old, new)
        before, after = self._indexed(old), self._indexed(new)
        order = _merged_order(list(before), list(after))
        return [self.item.merged(before.get(step, ABSENT), after.get(step, ABSENT)) for step in order]

    def pruned(self, value: Any, last: FieldSet, kept: FieldSet | None) -> Any:
        left = []
        for item in value or ():
            step = self._step(item)
            mine, others = last.get(step), (kept or {}).get(step)
            if mine is None:
                left.append(item)
            elif not _goes(mine, others):
                below = self.item.pruned(item, mine, others)
                left.append(item if below is ABSENT else below)
        return left if left or kept is not None else ABSENT


@dataclass(frozen=True, slots=True)
class Anything:
    """Of a type that only the value itself tells: maps are merged, lists and scalars replaced."""

    def problems(self, value: Any, path: str) -> Iterator[str]:
        return iter(())

    def owned(self, value: Any) -> FieldSet | None:
        return _sort_of(value).owned(value)

    def every(self, value: Any) -> FieldSet:
        return _sort_of(value).every(value)

    def differ(self, old: Any, new: Any, into: _Nodes) -> None:
        if isinstance(old, dict) and isinstance(new, dict):
            _OPEN.differ(old, new, into)
            return
        _leaf_differs(old, new, into)
        if isinstance(old, dict) or isinstance(new, dict):
            into.removed, into.added = _below(old), _below(new)

    def merged(self, old: Any, new: Any) -> Any:
        if isinstance(old, dict) and isinstance(new, dict):
            return _OPEN.merged(old, new)
        return _latest(old, new)

    def pruned(self, value: Any, last: FieldSet, kept: FieldSet | None) -> Any:
        return _sort_of(value).pruned(value, last, kept)


ANYTHING = Anything()
_OPEN = Map({}, ANYTHING)
_WHOLE = Leaf()
_AMOUNT = Map({}, _WHOLE)


def _below(value: Any) -> FieldSet | None:
    return {step: node for step, node in _sort_of(value).every(value).items() if step != SELF} or None


def _sort_of(value: Any) -> Type:
    return _OPEN if isinstance(value, dict) else _WHOLE


def _some(value: Any) -> bool:
    return value is not ABSENT and bool(value)


def _fuller(old: Any, new: Any) -> Any:
    """Of two containers, one of which has nothing in it: nothing new takes nothing away."""
    return old if _some(old) else _latest(old, new)


def _merged_order(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The new items in their order, the old ones that are not among them where they stood, as far as both can be."""
    wanted, known = set(new), set(old)
    shared = iter([step for step in new if step in known])
    due = next(shared, None)
    placed: dict[str, None] = {}
    left = right = 0
    while left < len(old) or right < len(new):
        if left < len(old) and right < len(new):
            if old[left] == new[right]:
                placed[old[left]] = None
                left, right = left + 1, right + 1
                continue
            while due in placed:
                due = next(shared, None)
            if old[left] in wanted and due is not None and old[left] != due:
                left += 1
                continue
        if left < len(old) and old[left] not in wanted:
            placed[old[left]] = None
            left += 1
            continue
        if left < len(old) and old[left] in placed:
            left += 1
        if right < len(new):
            placed[new[right]] = None
            right += 1
    return list(placed)


# From schemas


@lru_cache(maxsize=256)
def type_of(kind: Kind[Any, Any]) -> Type:
    """The compiled type of a kind's objects. Metadata is of Go's types in all of them."""
    whole = compiled(schema_of(kind).openapi, go=kind.typed)
    metadata = {"metadata": compiled(schema_of(kind).openapi["properties"]["metadata"], go=True)}
    return replace(whole, declared={**whole.declared, **metadata}) if isinstance(whole, Map) else whole


def compiled(schema: Document, *, go: bool = False) -> Type:
    """The type that a structural schema describes. Lists are atomic unless they say otherwise. Of Go's types a text that
    must be said, and is not, is an empty one."""
    match schema.get("type"):
        case "object":
            return _map(schema, go=go)
        case "array":
            return _list(schema, go=go)
        case "string":
            return Leaf(("string",), "string")
        case "integer" | "number":
            return Leaf(("integer", "number"), "numeric (int or float)")
        case "boolean":
            return Leaf(("boolean",), "boolean")
        case _:
            return _WHOLE if schema.get("x-kubernetes-int-or-string") else ANYTHING


def _map(schema: Document, *, go: bool) -> Type:
    if schema.get("x-kubernetes-map-type") == "atomic":
        return Leaf(("object",), "map")
    declared = {name: compiled(below, go=go) for name, below in schema.get("properties", {}).items()}
    if go:
        # A quantity may be said as a number.
        declared |= {name: _AMOUNT for name in AMOUNTS if name in declared}
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        return Map(declared, compiled(values, go=go))
    return Map(declared, ANYTHING if schema.get("x-kubernetes-preserve-unknown-fields") else None)


def _list(schema: Document, *, go: bool) -> Type:
    items: Document = schema.get("items", {})
    match schema.get("x-kubernetes-list-type"):
        case "map":
            keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
            known = items.get("properties", {})
            unsaid: Document = {key: "" for key in keys if go and key in items.get("required", ())}
            defaults = unsaid | {key: known[key]["default"] for key in keys if "default" in known.get(key, {})}
            return Items(compiled(items, go=go), keys, defaults)
        case "set":
            return Items(compiled(items, go=go))
        case _:
            return Leaf(("array",), "list")
