#!/bin/sh
# Makes a checkout ready: Debian's or Ubuntu's packages, then .venv with exactly what requirements.lock names.
# What is done already is skipped. Two checkouts, or two runs in one, may do this at the same time.
# Arguments are further packages that somebody needs: tools/setup.sh wrk.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
missing=

main() {
  exec 9<. && flock 9 # one run at a time in a checkout; the kernel releases it
  python=$(find_python)
  find_missing "$@"
  [ -z "$missing" ] || install_packages
  python=$(find_python)
  [ -n "$python" ] || fail "Python 3.11 or newer is needed: $(install_line python3 python3-dev python3-venv)"
  stamp=$(printf '%s %s\n' "$PWD" "$("$python" --version)" | cat - requirements.lock pyproject.toml | sha256sum)
  [ "$(cat .venv/.stamp 2>/dev/null)" = "$stamp" ] || make_venv
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

say() {
  echo "setup: $*"
}

install_line() {
  echo "sudo apt-get install --no-install-recommends $*"
}

find_python() {
  for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

# want PACKAGE CONDITION...: the package is missing where the condition fails
want() {
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}

find_missing() {
  want libvirt-daemon-system command -v libvirtd
  want libvirt-daemon-driver-qemu sh -c 'ls /usr/lib/libvirt/connection-driver/libvirt_driver_qemu.so ||
    ls /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so'
  want libvirt-clients command -v virsh
  want qemu-system-x86 command -v qemu-system-x86_64
  want qemu-utils command -v qemu-img
  want busybox-static command -v busybox
  want cpio command -v cpio
  want iproute2 command -v ip
  want ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
  want make command -v make
  want gcc command -v gcc
  want binutils command -v ld
  want libc6-dev sh -c 'ls /usr/lib/*/libc.a'
  want pkg-config command -v pkg-config
  want libvirt-dev sh -c 'ls /usr/include/libvirt/libvirt.h'
  if grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then want zstd command -v zstd; fi
  if [ -n "$python" ]; then
    name=python3
    [ "$python" = /usr/bin/python3 ] || name=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    want "$name-dev" "$python" -c 'import pathlib, sysconfig; (pathlib.Path(sysconfig.get_path("include")) / "Python.h").stat()'
    want "$name-venv" "$python" -c 'import ensurepip'
  else
    missing="$missing python3 python3-dev python3-venv"
  fi
  for package; do want "$package" is_installed "$package"; done
  missing=${missing# }
}

is_installed() {
  dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

install_packages() {
  command -v apt-get >/dev/null || fail "missing: $missing (Debian's names); install them and run this again"
  if [ "$(id -u)" = 0 ]; then
    root=
  elif sudo -n true 2>/dev/null; then
    root="sudo -n"
  else
    fail "missing packages; run: $(install_line "$missing")"
  fi
  say "installing $missing"
  update_lists
  # Debian's tools ask nothing and restart nothing here, and wait for one another.
  # shellcheck disable=SC2086 # words, on purpose
  $root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get install -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 $missing </dev/null ||
    fail "apt-get could not install them; run: $(install_line "$missing")"
}

# apt-get waits for dpkg's lock but not for that of the package lists.
update_lists() {
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    $root apt-get update -qq </dev/null && return
    say "the package lists are being read by somebody else, or the network is away; once more in 5 s"
    sleep 5
  done
  say "going on with the package lists of before"
}

make_venv() {
  say "making .venv with $("$python" --version); libvirt's binding is compiled, which takes a moment"
  # One that was interrupted, or whose checkout was moved, is made anew: scripts in it name its path.
  if ! .venv/bin/python -c 'import pip' 2>/dev/null || ! head -n 1 .venv/bin/pip | grep -qF "$PWD/.venv/"; then
    "$python" -m venv --clear .venv
  fi
  rm -f .venv/.stamp
  pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 .venv/bin/python -m pip install --progress-bar off"
  {
    $pip --require-hashes -r requirements.lock </dev/null 2>&1 && : >.venv/.installed
  } | sed -n 's/^Collecting \([^ ]*\).*/setup:   \1/p; s/^Building .*/setup:   compiling libvirt-python/p
    s/^Installing .*/setup:   installing them/p; /rror/p'
  rm .venv/.installed 2>/dev/null || fail "pip could not install requirements.lock: see above"
  said=$($pip -q --no-deps --no-build-isolation -e . </dev/null 2>&1) ||
    fail "the project itself could not be installed: $said"
  echo "$stamp" >.venv/.stamp
  say "ready"
}

main "$@"
