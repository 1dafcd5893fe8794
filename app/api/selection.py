"""Which objects of a scope a list, a watch or a deletecollection means."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.options import ListOptions
from app.api.routes import Target
from app.machinery.errors import bad_request
from app.machinery.objects import Document
from app.machinery.selectors import FieldSelector, LabelSelector, parse_fields, parse_labels
from app.store.base import Event, EventType, Scope, Stored


@dataclass(frozen=True, slots=True)
class Selection:
    """A scope and the selectors on it."""

    scope: Scope
    labels: LabelSelector
    fields: FieldSelector

    @classmethod
    def of(cls, target: Target, options: ListOptions) -> Selection:
        """Raises ApiError 400 for a selector that cannot be read. A selected name or namespace narrows the scope itself."""
        fields = parse_fields(options.fields, target.kind)
        wanted = fields.exact("metadata.name")
        if target.name and wanted not in (None, target.name):
            raise bad_request("fieldSelector metadata.name doesn't match requested name")
        name = target.name or wanted
        namespace = target.namespace
        if target.kind.namespaced and namespace is None:
            namespace = fields.exact("metadata.namespace") or None
        scope = Scope(target.kind.resource, namespace, name)
        return cls(scope, parse_labels(options.labels), fields)

    @property
    def everything(self) -> bool:
        return not self.labels and not self.fields

    def matches(self, stored: Stored) -> bool:
        return self.everything or self._matches(stored.document)

    def _matches(self, document: Document) -> bool:
        labels = document["metadata"].get("labels") or {}
        return self.labels.matches(labels) and self.fields.matches(document)

    def seen(self, event: Event) -> EventType | None:
        """What a change looks like from inside the selection; None when it does not concern it."""
        if self.everything:
            return event.type
        before = event.previous is not None and self.matches(event.previous)
        after = event.type is not EventType.DELETED and self.matches(event.object)
        if after:
            return EventType.MODIFIED if before else EventType.ADDED
        return EventType.DELETED if before else None
