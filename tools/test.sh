#!/bin/sh
# Runs the tests; as root it then runs those of the lab, and the main job (in full: all that move guests), as a user without rights.
set -eu
cd "$(dirname "$0")/.."
marks="not slow" once_more="tests/lab tests/e2e/test_kubevirt_2017.py"
[ "${1:-}" = "--full" ] && marks="slow or not slow" once_more="tests/lab tests/e2e"

# The tests start some hundred processes: where Python is told not to keep what it compiled, each would compile the whole project.
.venv/bin/python -m compileall -q app migrations_db tests benchmarks

echo "== the tests"
.venv/bin/python -m pytest -n 3 --dist loadgroup -m "$marks" tests </dev/null

[ "$(id -u)" = 0 ] || exit 0
echo "== the lab's tests once more, as the user nobody"
home=$(mktemp -d /tmp/drover-user-XXXXXX)
trap 'rm -rf "$home"' EXIT INT TERM
as_nobody() {
  setpriv --reuid=nobody --regid=nogroup --clear-groups --reset-env \
    env HOME="$home" PATH="$PATH" TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1 "$@"
}
here=$PWD
if ! as_nobody sh -c "test -r '$here/app/main.py' && test -x '$here/.venv/bin/python' && '$here/.venv/bin/python' -c 'import app.main, libvirt'" 2>/dev/null; then
  # The checkout lies in a folder that other users may not enter: give them a copy.
  echo "   (from a copy: this folder is closed to other users)"
  mkdir "$home/checkout"
  git ls-files -z | xargs -0 cp --parents -t "$home/checkout"
  cp -a .venv "$home/checkout/.venv"
  here="$home/checkout"
  "$here/.venv/bin/python" -m compileall -q "$here/app" "$here/migrations_db" "$here/tests"
fi
chown -R nobody:nogroup "$home"
cd "$here"
as_nobody env PYTHONPATH="$here" .venv/bin/python -m pytest -p no:cacheprovider -n 2 --dist loadgroup -m "lab and ($marks)" $once_more </dev/null
