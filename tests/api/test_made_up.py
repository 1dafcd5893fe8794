"""What the server makes up for new objects: their uids and the ends of generated names."""

from __future__ import annotations

from uuid import RFC_4122, UUID

from app.api.context import random_suffix
from app.api.uids import random_uid
from app.machinery.names import SUFFIX_ALPHABET


def test_uids_are_random_uuids() -> None:
    uids = {random_uid() for _ in range(1000)}
    assert len(uids) == 1000
    for uid in uids:
        assert (UUID(uid).version, UUID(uid).variant, str(UUID(uid))) == (4, RFC_4122, uid)


def test_generated_names_end_in_five_letters_of_the_alphabet() -> None:
    suffixes = {random_suffix() for _ in range(1000)}
    assert len(suffixes) > 990
    assert all(len(suffix) == 5 and set(suffix) <= set(SUFFIX_ALPHABET) for suffix in suffixes)
