"""wrk, the compiled load generator: a script in, what it counted out."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MISSING = (
    "wrk is not installed, and a load generator in Python would measure itself: apt-get install wrk (Debian, Ubuntu), "
    "or put github.com/wg/wrk on the PATH"
)

_DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%d,"microseconds":%d,"bytes":%d,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d,"made":%d}\\n',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), counting and counting:get("made") or 0))
end
"""

_READS = """
local paths, at, prepared = {%s}, 0, {}
function init(args)
  for index, path in ipairs(paths) do prepared[index] = wrk.format("GET", path) end
end
function request()
  at = at %% #prepared + 1
  return prepared[at]
end
"""

_CREATES = """
made = 0
local template = [==[%s]==]
function setup(thread) counting = thread end
function request()
  made = made + 1
  return wrk.format("POST", nil, nil, (template:gsub("@", made)))
end
"""


class WrkError(Exception):
    """There is no wrk, or it could not do its work; the text is one line."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What wrk says of one run."""

    requests: int
    microseconds: int
    bytes: int
    refused: int
    """Answers that were neither 2xx nor 3xx."""
    broken: int
    """Connections that failed, and requests that nobody answered in time."""
    p50_us: int
    p99_us: int
    made: int
    """How many requests of a create were made: a few more than were answered."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / (self.microseconds / 1e6)

    @property
    def failures(self) -> int:
        return self.refused + self.broken


def reads(paths: Sequence[str]) -> str:
    """A script that gets the paths in turn."""
    return _READS % ",".join(json.dumps(path) for path in paths) + _DONE


def creates(template: str) -> str:
    """A script that posts the template to the URL's own path, with the number of the request in place of each @."""
    return _CREATES % template + _DONE


def counted(output: str) -> Counted:
    """Raises WrkError for an output without a result."""
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return Counted(**json.loads(line.removeprefix("RESULT ")))
    raise WrkError(f"wrk said no result: {output.strip()[-300:]!r}")


def wrk(url: str, script: str, *, connections: int, seconds: float, headers: Mapping[str, str]) -> Counted:
    """One run, from one thread: the rest of the machine is the server's. Raises WrkError."""
    program = shutil.which("wrk")
    if program is None:
        raise WrkError(MISSING)
    flags = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    with tempfile.TemporaryDirectory(prefix="drover-wrk-") as folder:
        path = Path(folder) / "script.lua"
        path.write_text(script)
        command = [
            program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s", *flags, "-s", str(path), url,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode != 0:
        raise WrkError(f"wrk failed on {url}: {(done.stderr or done.stdout).strip()[-300:]}")
    return counted(done.stdout)
