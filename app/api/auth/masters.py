"""What holds whatever the roles say: system:masters may do everything."""

from __future__ import annotations

from app.machinery.access import ALLOWED, MASTERS, NO_OPINION, Attributes, User, Verdict


class MastersMay:
    """Allows the group that no role binds, so that nobody can lock everybody out."""

    async def authorize(self, user: User, asked: Attributes) -> Verdict:
        return ALLOWED if MASTERS in user.groups else NO_OPINION
