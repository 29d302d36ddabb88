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

# Where it lies is part of it: a copied .venv points into the old place.
wanted="$(pwd) $(cat "$lock" pyproject.toml | sha256sum | cut -d ' ' -f 1)"
stamp=.venv/.trueup-setup
# What is installed for the benchmarks holds everything that development needs.
for known in "$stamp-$lock" "$stamp-requirements-bench.lock"; do
    if [ -x .venv/bin/python ] && [ -f "$known" ]; then
        other="$(pwd) $(cat "${known#"$stamp"-}" pyproject.toml | sha256sum | cut -d ' ' -f 1)"
        [ "$(cat "$known")" = "$other" ] && exit 0
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
echo "$wanted" >"$stamp-$lock"
