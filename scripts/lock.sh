#!/bin/bash
# Resolves pyproject.toml into the lock files, for every platform and Python that the project supports.
# Versions in the lock files stay unless `pyproject.toml` asks for others; `scripts/lock.sh --upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    local output=$1
    shift
    .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command "make lock" --output-file "$output" "$@"
}

# Versions of the lock file that everything else follows, each for the Pythons that it is for.
locked() { sed -n 's/^\([a-z0-9.-]*==[^\\]*[^ \\]\).*/\1/p' requirements.lock; }

compile requirements.lock --extra dev "$@"
compile requirements-bench.lock --extra dev --extra bench --constraint <(locked) "$@"
# What the container image holds: no tools.
compile requirements-run.lock --extra encrypted --constraint <(locked) "$@"
