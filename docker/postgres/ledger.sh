#!/bin/sh
# Run by the PostgreSQL image when it makes its database: one more, with an owner of its own, for geoseg's ledger,
# so that who writes the ledger cannot read or change Prefect's tables.
set -eu

password="$(cat "${LEDGER_PASSWORD_FILE:?}")"
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$password" <<'SQL'
CREATE ROLE geoseg LOGIN PASSWORD :'password';
CREATE DATABASE geoseg OWNER geoseg;
REVOKE CONNECT ON DATABASE geoseg FROM PUBLIC;
SQL
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set name="$POSTGRES_DB" <<'SQL'
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
