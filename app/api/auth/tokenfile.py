"""Static tokens: kube-apiserver's CSV file, `token,user,uid,"group1,group2"`; read again when it changes."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

from app.api.auth.base import Credentials, Unauthorized
from app.api.files import FileError, KeptFile
from app.machinery.access import User


class TokenFile:
    """Knows the tokens of one file. They are compared by their hashes, so that no comparison tells how near a guess was."""

    def __init__(self, path: Path) -> None:
        """Raises FileError."""
        self._users: dict[bytes, User] = {}
        self.file = KeptFile(path, "tokens", self._take)

    def _take(self, text: str) -> None:
        self._users = _users(text)

    async def authenticate(self, credentials: Credentials) -> User | None:
        token = credentials.bearer
        if token is None:
            return None
        user = self._users.get(_hash(token))
        if user is None:
            raise Unauthorized("invalid bearer token")
        return user


def _users(text: str) -> dict[bytes, User]:
    users: dict[bytes, User] = {}
    for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3 or not row[0] or not row[1]:
            raise FileError(f'line {number}: not of the form token,user,uid,"group1,group2"')
        groups = tuple(group.strip() for group in row[3].split(",") if group.strip()) if len(row) > 3 else ()
        users[_hash(row[0])] = User(row[1], groups, row[2])
    return users


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()
