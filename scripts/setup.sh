#!/bin/bash
# Builds .venv from a lock file; does nothing where it is already what the lock file says.
#   scripts/setup.sh          what development needs (requirements.lock)
#   scripts/setup.sh bench    with the tools that the benchmarks compare against (requirements-bench.lock)
set -euo pipefail
cd "$(dirname "$0")/.."

lock=requirements.lock
[ "${1:-}" = bench ] && lock=requirements-bench.lock

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "trueup needs Python 3.11 or newer: sudo apt-get install python3 python3-venv" >&2
    return 1
}

# The programs in .venv name the place where they lie: one that was copied or moved is built anew.
if [ -e .venv ] && ! grep -qsF "$(pwd -P)/.venv" .venv/bin/activate; then
    rm -rf .venv
fi

state_of() { cat "$1" pyproject.toml | sha256sum; }

# Compiled once here: where Python is told to write no bytecode, every command would compile all of it again.
compile() { .venv/bin/python -m compileall -q src || true; }

# What is installed for the benchmarks holds everything that development needs.
stamp=.venv/.trueup-setup
for known in "$lock" requirements-bench.lock; do
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp-$known" 2>/dev/null)" = "$(state_of "$known")" ]; then
        compile
        exit 0
    fi
done

if ! [ -x .venv/bin/python ] || ! usable .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        echo "Python's venv module is missing: sudo apt-get install python$version-venv" >&2
        exit 1
    fi
    echo "creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

echo "installing from $lock"
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet)
"${pip[@]}" --require-hashes --requirement "$lock"
"${pip[@]}" --no-deps --no-build-isolation --editable .
rm -f "$stamp"-*
state_of "$lock" >"$stamp-$lock"
compile
