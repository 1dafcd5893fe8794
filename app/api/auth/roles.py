"""Who may do what by the roles that are stored."""

from __future__ import annotations

from app.api.auth.following import Following
from app.machinery.access import Attributes, User, Verdict
from app.machinery.bindings import RESOURCES, Bindings
from app.store.base import Objects


class Roles(Following):
    """Judges by roles and bindings."""

    def __init__(self, objects: Objects) -> None:
        self.bindings = Bindings()
        super().__init__(objects, RESOURCES, self.bindings)

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        return self.bindings.judge(user, asked)
