"""The port: the keys by which an issuer's tokens are judged."""

from __future__ import annotations

from typing import Any, Protocol

ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
"""Those that kube-apiserver takes, and what keys are of. None is symmetric: what judges a token could sign one too."""


class KeysUnknown(Exception):
    """The issuer did not say which keys are its own. The text is one line for the log."""


class IssuerKeys(Protocol):
    """One issuer's."""

    async def key(self, id_: str | None) -> tuple[str, Any] | None:
        """The type (RSA or EC) and the public key of that name; without a name, of an issuer with one key. None for one that
        the issuer does not have. May ask the issuer, for ten seconds at most. Raises KeysUnknown."""
