"""kubectl, told the same against both: is what it prints the same, and how it ends?"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fidelity.commands import Command, Story
from tests.fidelity.definitions import computed_columns

PROGRAM = Path(sys.executable).parent / "kubectl"
DEADLINE_S = 60.0

_DROPPED = (
    (r"(?m)^Warning: no worker has run.*\n", "Drover without workers warns of it"),
    (r"(?m)^[+-]? *(?:selfLink|\"selfLink\"|Self Link): .*\n", "Drover fills metadata.selfLink"),
    (
        r"(?m)^ *f:finalizers:\n(?: *\.: \{\}\n)? *v:\"kubevirt.io/\w+\": \{\}\n",
        "nobody owns the finalizers that Drover puts on by itself",
    ),
    (
        r"(?m)^ *\"f:finalizers\": \{\n *\"\.\": \{\},\n *\"v:.\"kubevirt.io/\w+.\"\": \{\}\n *\},\n",
        "nobody owns the finalizers that Drover puts on by itself",
    ),
    (r"\nNo resource quota\.\n\nNo LimitRange resource\.\n", "Drover has neither"),
    (
        r"(?m)^[EIW]\d{4} .* reflector\.go:.*\n",
        "what kubectl says of its own watch when its time is over, now and then",
    ),
)
"""What differs on purpose, and why."""
_TEXTS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "<time>"),
    (r"https?://127\.0\.0\.1:\d+", "<server>"),
    (r"127\.0\.0\.1:\d+", "<server>"),
    # A comma stays behind where the selfLink after it was dropped.
    (r"(resourceVersion\"?: )\"\d+\"(?:,(?=\n *\}))?", r"\1<rv>"),
    (r"(Resource Version: +)\d+", r"\1<rv>"),
    (r"/tmp/\S+", "<file>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+\d{4}", "<time>"),
    (r"(?m)^@@ .* @@$", "@@"),
    (r"Invalid value: \"\{(?:[^\"\\]|\\.)*\}\"", "Invalid value: <the object>"),
    (r"\"continue\": \"\w+\"", "<token>"),
    (r"(?<![\w.])(?:\d+[ydhms]){1,2}(?![\w.])", "<age>"),
    (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
    (r"\b(g-)[bcdfghjklmnpqrstvwxz2456789]{5}\b", r"\1<made up>"),
)  # fmt: skip
_COMPUTED = frozenset(name.upper() for name in computed_columns())


@dataclass(frozen=True, slots=True)
class Printed:
    """What came of a command, without what differs from run to run."""

    code: int
    out: str
    err: str

    def lines(self) -> list[str]:
        return [f"exit {self.code}", *self.out.splitlines(), "-- errors", *self.err.splitlines()]


def told(story: Story, kubeconfig: Path, namespace: str) -> list[Printed]:
    """All commands of a story, in their order."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "HOME": home,
            "KUBECONFIG": str(kubeconfig),
            "PATH": os.defpath,
            "KUBECTL_EXTERNAL_DIFF": "diff -u -N",
        }
        _run(["create", "namespace", namespace], None, environment)
        return [_printed(command, environment, namespace) for command in story.commands]


def _printed(command: Command, environment: dict[str, str], namespace: str) -> Printed:
    arguments = [word.replace("$ns", namespace) for word in _words(command.line)]
    given = command.given if isinstance(command.given, str | None) else json.dumps(command.given)
    given = given.replace("$ns", namespace) if given else given
    done = _run(["-n", namespace, *arguments] if "-n" not in arguments else arguments, given, environment)
    return Printed(done.returncode, _normal(done.stdout, namespace), _normal(done.stderr, namespace))


def _words(line: str) -> list[str]:
    """Split at blanks; JSON, templates and selectors with parentheses stay as they are."""
    return [
        word.replace("\0", " ")
        for word in re.sub(r"\b(in) (\()", "\\1\0\\2", line.replace("tier in", "tier\0in")).split()
    ]


def _run(arguments: list[str], given: str | None, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *arguments],
        input=given or "",
        env=environment,
        text=True,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )


def _normal(text: str, namespace: str) -> str:
    """Columns are as wide as what stands in them."""
    text = _outline(_in_order(_common_columns(text).replace(namespace, "$ns")))
    for pattern, _ in _DROPPED:
        text = re.sub(pattern, "", text)
    for pattern, shown in _TEXTS:
        text = re.sub(pattern, shown, text)
    return re.sub(r"(?<=\S) {2,}(?=\S)", "  ", text)


def _in_order(text: str) -> str:
    """What is passed through as it came, without the order of its fields."""
    try:
        return json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" if text.startswith("{") else text
    except ValueError:
        return text


def _outline(text: str) -> str:
    """What `explain` prints, without its sentences and the names of types: Drover has its own, and a definition's types none."""
    if not re.match(r"(?:GROUP|KIND): ", text):
        return text
    kept = [line for line in text.splitlines() if "\t<" in line or re.match("[A-Z]+:", line)]
    return re.sub(r"<(\[\])?[A-Z]\w+>", r"<\1Object>", "\n".join(kept) + "\n")


def _common_columns(text: str) -> str:
    """Tables without the columns that no definition can declare."""
    shown, cut = [], []
    for line in text.splitlines():
        header = [(found.group(), found.start()) for found in re.finditer(r"\S+(?: \S+)*", line)]
        if header and all(name == name.upper() for name, _ in header) and "NAME" in line:
            ends = [start for _, start in header[1:]] + [None]
            cut = [(start, end) for (name, start), end in zip(header, ends, strict=True) if name in _COMPUTED]
        elif not line:
            cut = []
        for start, end in reversed(cut):
            line = line[:start] + (line[end:] if end is not None else "")
        shown.append(line.rstrip())
    return "\n".join(shown) + "\n" if shown else ""


def report(stories: Sequence[Story], reference: Path, drover: Path, run: str) -> int:
    """Prints each command that differs; the exit status, 0 when none does."""
    differing = commands = 0
    for number, story in enumerate(stories):
        sides = [told(story, kubeconfig, f"k{run}-{number}") for kubeconfig in (reference, drover)]
        for command, theirs, mine in zip(story.commands, *sides, strict=True):
            commands += 1
            if theirs == mine or command.own:
                continue
            differing += 1
            print(f"=== {story.name}: kubectl {shlex.join(_words(command.line))}")
            print("\n".join(list(difflib.unified_diff(theirs.lines(), mine.lines(), lineterm="", n=1))[2:]))
    print(f"\n{commands} commands in {len(stories)} stories; {differing} differ")
    return 1 if differing else 0
