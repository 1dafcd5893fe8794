"""What a Node says of amounts and of networks of pods: kube-apiserver's rules, which nothing else of a host depends on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from app.machinery.errors import FieldError, invalid
from app.machinery.objects import Document

_WHOLE = (
    *(
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
    ),
    *("services.nodeports", "services.loadbalancers"),
)
"""Of these, and of whatever is named by somebody else's domain, there are only whole ones."""


def amount_problems(status: Document) -> Iterator[FieldError]:
    for name in ("capacity", "allocatable"):
        for resource, amount in (status.get(name) or {}).items():
            domain, slash, _ = resource.rpartition("/")
            foreign = slash and not domain.endswith("kubernetes.io")
            if amount.startswith("-"):
                yield invalid(f"status.{name}.{resource}", amount, "must be greater than or equal to 0")
            if amount.endswith("m") and (foreign or resource in _WHOLE):
                yield invalid(f"status.{name}.{resource}", amount, "must be an integer")


def _interface(text: str) -> IPv4Interface | IPv6Interface | None:
    if re.fullmatch(r"[0-9a-fA-F:.]+/[0-9]{1,3}", text) is None:
        return None
    try:
        return ip_interface(text)
    except ValueError:
        return None


def network_problems(networks: list[str]) -> Iterator[FieldError]:
    at = "spec.podCIDRs"
    for index, text in enumerate(networks):
        interface = _interface(text)
        if interface is None:
            yield invalid(f"{at}[{index}]", text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
        elif interface.ip != interface.network.network_address:
            yield invalid(f"{at}[{index}]", text, "must not have bits set beyond the prefix length")
    families = [":" in text for text in networks]
    if len(families) != len(set(families)):
        yield invalid(at, networks, "may specify no more than one CIDR for each IP family")


def name_networks(spec: Document) -> None:
    """podCIDR is the first of podCIDRs: of two words on it that one counts which was said first in Kubernetes' history."""
    first, networks = spec.pop("podCIDR", ""), spec.pop("podCIDRs", [])
    if first and networks[:1] != [first]:
        networks = [first]
    if networks:
        spec["podCIDR"], spec["podCIDRs"] = networks[0], networks
