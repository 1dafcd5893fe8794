"""New objects that controllers make: the metadata that the API would have filled."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.machinery.kind import Kind
from app.machinery.names import SUFFIX_ALPHABET, SUFFIX_LENGTH, self_link
from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class Birth:
    """The clock and the chance that new objects need; handed in, so that tests know both."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    uid: Callable[[], str] = lambda: str(uuid4())
    suffix: Callable[[], str] = lambda: "".join(random.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH))

    def stamp(self) -> str:
        """Now, in whole seconds, as metadata has it."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def stamp_micro(self) -> str:
        """Now, in microseconds, for status fields where precision matters."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def document(
        self,
        kind: Kind[Any, Any],
        namespace: str,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        owner: Document | None = None,
        **fields: Any,
    ) -> Document:
        """A new object of that kind, its top-level `fields` beside metadata as given; `owner` becomes its controller."""
        metadata: Document = {
            "name": name,
            "uid": self.uid(),
            "creationTimestamp": self.stamp(),
            "selfLink": self_link(kind, kind.group_version, namespace, name),
        }
        if kind.namespaced:
            metadata["namespace"] = namespace
        if kind.has_generation:
            metadata["generation"] = 1
        if labels:
            metadata["labels"] = dict(labels)
        if owner is not None:
            metadata["ownerReferences"] = [controller_reference(owner)]
        if kind.finalizers:
            metadata["finalizers"] = list(kind.finalizers)
        return {"apiVersion": str(kind.group_version), "kind": kind.name, "metadata": metadata, **fields}


def controller_reference(owner: Document) -> Document:
    """A reference to the object that controls another: it goes when its controller has gone."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(document: Document) -> Document | None:
    """The reference to an object's controller, if it has one."""
    references: Sequence[Document] = document["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)
