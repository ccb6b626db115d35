#!/bin/sh
# Makes docker/secrets/: one file a secret, readable by their owner alone. What is there already stays.
set -eu
umask 077
folder="${1:-$(dirname "$0")/secrets}"
mkdir -p "$folder"

word() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

make() {
    # Under another name first: an interrupted run must not leave an empty secret behind.
    [ -e "$folder/$1" ] || { printf '%s' "$2" > "$folder/$1.new" && mv "$folder/$1.new" "$folder/$1"; }
}

make postgres_password "$(word)"
make ledger_password "$(word)"
make prefect_auth "geoseg:$(word)"
echo "secrets: $folder (postgres_password, ledger_password, prefect_auth)"
