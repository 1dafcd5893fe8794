"""What keeps a lab from standing: one line that says what to do."""

from __future__ import annotations


class LabError(Exception):
    """The message is for the person at the keyboard: what is wrong, and the command or the setting that helps."""
