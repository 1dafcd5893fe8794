"""Looks for what must not be in this repository: `python tools/scan.py`, or with `--audit` for holes in pinned versions too.

    bandit      what attackers look for in Python; each finding that stands is named below, with the reason
    secrets     private keys, tokens and passwords in files that git knows
    pins        requirements.lock names exact versions with hashes, is in step with pyproject.toml, and says no address
    pip-audit   known holes in those versions, where its data can be reached; where not, that nothing was looked at is said

Exit status 1 when anything is found.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCANNED = ("app", "deploy", "migrations_db", "tools")

_BOUND = "put together from this code's own words; values are always bound"
_LIBVIRT = "libvirt's own XML, and expat bounds what entities may grow to"
STANDING: Mapping[tuple[str, str], str] = {
    ("B104", "app/server.py"): "names an address for a URL; nothing is bound to it there",
    (
        "B108",
        "app/store/embedded.py",
    ): "every process that names the data folder must find the same socket; its folder is 0700",
    ("B113", "app/controllers/placement/reservations.py"): "`requests` are a Pod's resources there, not the library",
    ("B314", "app/hypervisor/capabilities.py"): _LIBVIRT,
    ("B314", "app/hypervisor/fake/driver.py"): _LIBVIRT,
    ("B608", "app/store/creating.py"): _BOUND,
    ("B608", "app/store/marks.py"): _BOUND,
    ("B608", "app/store/reading.py"): _BOUND,
    ("B608", "app/store/runs.py"): _BOUND,
    ("B608", "migrations_db/versions/20261126_populations.py"): _BOUND,
}
"""Findings of bandit that were looked at, by test and file. One that is found no more must go from here."""

SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    "a password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"{}$<>]+:(?P<word>[^\s/:@'\"{}$<>*]{3,})@"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}\b"),
    "a JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}\b"),
}
EXAMPLES = frozenset(("drover", "hunter2", "password", "secret", "geheim"))
"""Words that stand for a password in examples and tests."""
TOO_LARGE = 4 << 20


def main() -> int:
    problems = [*bandit(), *secrets(), *pins()]
    if "--audit" in sys.argv[1:]:
        problems += audit()
    for problem in problems:
        sys.stderr.write(f"scan: {problem}\n")
    if not problems:
        sys.stdout.write("scan: nothing found\n")
    return 1 if problems else 0


def bandit() -> Iterator[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bandit", "-q", "-ll", "-r", *SCANNED, "-f", "json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        yield f"bandit did not run: {done.stderr.strip()[-300:]}"
        return
    yield from judged(json.loads(done.stdout)["results"], STANDING)


def judged(results: Iterable[Mapping[str, object]], standing: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """What bandit found and nobody looked at; and what was looked at and is found no more."""
    found = set()
    for result in results:
        place = str(result["test_id"]), str(result["filename"])
        found.add(place)
        if place not in standing:
            yield f"{place[1]}:{result['line_number']}: {place[0]} {result['issue_text']}"
    for test, file in sorted(set(standing) - found):
        yield f"{file}: {test} is found no more; take it out of tools/scan.py"


def secrets() -> Iterator[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and path.stat().st_size < TOO_LARGE:
            yield from (f"{name}: {what}" for what in secrets_in(path.read_text(errors="replace")))


def secrets_in(text: str) -> Iterator[str]:
    """What looks like one; never the secret itself."""
    for what, pattern in SECRETS.items():
        for match in pattern.finditer(text):
            if match.groupdict().get("word") not in EXAMPLES:
                yield f"{what} in line {text[: match.start()].count(chr(10)) + 1}"


def pins() -> Iterator[str]:
    yield from pin_problems((ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text())


def pin_problems(pyproject: str, lock: str) -> Iterator[str]:
    """Of a lock as pip-compile writes it."""
    project = tomllib.loads(pyproject)["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    blocks = {match.group(1): match.group(0) for match in _PINNED.finditer(lock)}
    for requirement in wanted:
        name = _plain(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0])
        if name not in blocks:
            yield f"requirements.lock: {name} of pyproject.toml is missing; run make lock"
    for name, block in blocks.items():
        if "--hash=sha256:" not in block:
            yield f"requirements.lock: {name} has no hash"
    if re.search(r"https?://|^-[-a-z]*(?:url|find-links)|file://", lock, re.MULTILINE):
        yield "requirements.lock: names an address"
    for line in pyproject.splitlines():
        if re.fullmatch(r'  "[a-z][^"]*",\s*', line) and _is_dependency(line, wanted):
            yield f"pyproject.toml: {line.strip()} does not say what for"


_PINNED = re.compile(r"^([a-z0-9][a-z0-9.-]*)(?:\[[a-z0-9,-]+\])?==\S+(?: ?\\\n    .*)*", re.MULTILINE)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_dependency(line: str, wanted: Iterable[str]) -> bool:
    return line.strip().rstrip(",").strip('"') in wanted


def audit() -> Iterator[str]:
    done = subprocess.run(
        [
            sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "-r", "requirements.lock",
            "--progress-spinner", "off", "-f", "json",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    start = done.stdout.find("{")
    if start < 0:
        sys.stdout.write(
            f"scan: pip-audit cannot reach its data, so NOTHING was audited: {done.stderr.strip()[-200:]}\n"
        )
        return
    packages = json.loads(done.stdout[start:])["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        sys.stdout.write("scan: pip-audit cannot reach its data, so NOTHING was audited\n")
        return
    if unknown:
        sys.stdout.write(f"scan: pip-audit knows nothing of {', '.join(unknown)}\n")
    for package in packages:
        for hole in package.get("vulns", ()):
            fixed = ", ".join(hole.get("fix_versions") or ()) or "no version"
            yield f"{package['name']} {package['version']}: {hole['id']}, mended by {fixed}"


if __name__ == "__main__":
    sys.exit(main())
