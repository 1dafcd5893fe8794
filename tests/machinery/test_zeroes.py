"""What is written of core objects that say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from app.machinery.zeroes import blank, filled

ZERO = {
    "source": {},
    "first": None,
    "status": {"info": {"id": ""}, "conditions": [{"at": None}]},
    "series": [{"last": None}],
}


ALWAYS: dict[str, Any] = {"source": {}, "first": None, "status": {"info": {"id": ""}}}


@pytest.mark.parametrize("said, more", [
    ({}, {}),
    ({"first": "now", "source": {"host": "h"}}, {"first": "now", "source": {"host": "h"}}),
    ({"series": {"count": 1}}, {"series": {"count": 1, "last": None}}),
    (
        {"status": {"conditions": [{"type": "a"}, {"at": "now"}]}},
        {"status": {"info": {"id": ""}, "conditions": [{"type": "a", "at": None}, {"at": "now"}]}},
    ),
])  # fmt: skip
def test_what_is_not_said_is_filled_in_and_what_is_said_stays(said: dict[str, Any], more: dict[str, Any]) -> None:
    assert filled(ZERO, said) == ALWAYS | more
    assert filled(ZERO, ALWAYS | more) == ALWAYS | more


def test_what_is_filled_in_is_shared_with_nobody() -> None:
    blank(ZERO)["status"]["info"]["id"] = "mine"

    assert blank(ZERO)["status"]["info"] == {"id": ""}
