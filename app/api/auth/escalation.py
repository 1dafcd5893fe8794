"""Nobody gives away what they do not have: writes of roles and bindings are judged by what their writer may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.api.auth.roles import Roles
from app.api.context import Written
from app.machinery.access import MASTERS, Attributes, User, refused
from app.machinery.bindings import GROUP, together
from app.machinery.errors import not_found
from app.machinery.go_json import quoted
from app.machinery.objects import Document
from app.machinery.rbac import EVERYTHING, Rule, listed, uncovered


@dataclass(frozen=True)
class Escalation:
    """Judges the write of a role (`role`) and of a binding (`binding`)."""

    roles: Roles

    async def role(self, write: Written) -> None:
        """Raises 403 for rules that the writer does not hold, unless they may `escalate` the role."""
        old, new = write.old, write.new
        if old is not None and all(old.get(part) == new.get(part) for part in ("rules", "aggregationRule")):
            return
        if await self._may(write, "escalate", _plural(new), _name(new)):
            return
        before = (old or {}).get("aggregationRule")
        if (new.get("aggregationRule") or before) and self._lacking(write, EVERYTHING):
            raise _forbidden(new, "must have cluster-admin privileges to use the aggregationRule")
        self._ensure_held(write, [Rule.of(rule) for rule in new.get("rules") or ()])

    async def binding(self, write: Written) -> None:
        """Raises 403 for a role whose rules the writer does not hold, unless they may `bind` it; 404 for none."""
        reference, namespace = write.new["roleRef"], write.new["metadata"].get("namespace", "")
        plural = "roles" if reference["kind"] == "Role" else "clusterroles"
        if await self._may(write, "bind", plural, reference["name"]):
            return
        rules = self.roles.bindings.rules_of(reference, namespace)
        if rules is None:
            raise not_found(plural, GROUP, reference["name"])
        self._ensure_held(write, rules)

    async def _may(self, write: Written, verb: str, plural: str, name: str) -> bool:
        if MASTERS in write.user.groups:
            return True
        namespace = write.new["metadata"].get("namespace", "")
        asked = Attributes(verb, GROUP, "v1", plural, "", name, namespace)
        return (await self.roles.authorize(write.user, asked)).allowed

    def _lacking(self, write: Written, rules: Iterable[Rule]) -> list[Rule]:
        namespace = write.new["metadata"].get("namespace", "")
        return uncovered(self.roles.bindings.granted(write.user, namespace).rules, rules)

    def _ensure_held(self, write: Written, rules: Iterable[Rule]) -> None:
        missing = self._lacking(write, rules)
        if not missing:
            return
        told = "\n".join(sorted({str(rule) for rule in missing}))
        why = f"{_who(write.user)} is attempting to grant RBAC permissions not currently held:\n{told}"
        namespace = write.new["metadata"].get("namespace", "")
        if problems := self.roles.bindings.granted(write.user, namespace).problems:
            why += f"; resolution errors: {together(problems)}"
        raise _forbidden(write.new, why)


def _who(user: User) -> str:
    return f"user {quoted(user.name)} (groups={listed(user.groups)})"


def _plural(document: Document) -> str:
    return f"{document['kind'].lower()}s"


def _name(document: Document) -> str:
    return str(document["metadata"].get("name", ""))


def _forbidden(document: Document, why: str) -> Any:
    return refused(GROUP, _plural(document), _name(document), why)
