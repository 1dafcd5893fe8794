"""The part of requirements.lock that Drover needs to run, without its tests': `runtime_lock.py < requirements.lock`.

Each entry of the lock says in its comments, `# via …`, who wanted it.
"""

import re
import sys
import tomllib
from pathlib import Path

ENTRY = re.compile(r"^(?P<name>[a-z0-9._-]+)(\[[a-z0-9,_-]+\])?==", re.IGNORECASE)


def main(lock: str, project: Path) -> str:
    """The entries that a runtime dependency, or what it wanted in turn, is."""
    declared = tomllib.loads(project.read_text())["project"]["dependencies"]
    entries, parents = _read(lock)
    wanted = {_plain(re.split(r"[\[<>=!~; ]", each)[0]) for each in declared}
    missing = wanted - entries.keys()
    if missing:
        raise SystemExit(f"requirements.lock lacks {', '.join(sorted(missing))}")
    while more := {name for name in entries if name not in wanted and parents[name] & wanted}:
        wanted |= more
    return "".join(entries[name] for name in sorted(wanted))


def _read(lock: str) -> tuple[dict[str, str], dict[str, set[str]]]:
    entries: dict[str, str] = {}
    parents: dict[str, set[str]] = {}
    name = ""
    for line in lock.splitlines(keepends=True):
        if found := ENTRY.match(line):
            name = _plain(found["name"])
            entries[name], parents[name] = "", set()
        if not name:
            continue
        entries[name] += line
        if line.lstrip().startswith("#"):
            parents[name] |= {_plain(word) for word in re.findall(r"[\w.-]+", line.replace("# via", "#"))}
    return entries, parents


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(main(sys.stdin.read(), Path(__file__).parent.parent / "pyproject.toml"))
