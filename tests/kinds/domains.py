"""Domains for tests, in both forms: each says only what the test is about."""

from __future__ import annotations

from typing import Any

from app.machinery.objects import Document


def domain(**more: Any) -> Document:
    """The smallest DomainSpec that starts, and more."""
    smallest: Document = {
        "memory": {"value": 64, "unit": "MB"},
        "type": "qemu",
        "os": {"type": {"os": "hvm"}},
        "devices": {},
    }
    return smallest | more


def xml(devices: str = "", *, within: str = "", machine: str = "<type>hvm</type>", kind: str = "qemu") -> str:
    """The smallest domain XML that starts, and more."""
    return f"<domain type='{kind}'><memory unit='MiB'>64</memory><os>{machine}</os>{within}<devices>{devices}</devices></domain>"
