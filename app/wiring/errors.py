"""Why a process does not start."""

from __future__ import annotations


class Misconfigured(Exception):
    """The settings contradict one another; the text says what to change."""


class DatabaseAway(Exception):
    """PostgreSQL did not answer for as long as was to be waited; trying again later may help."""
