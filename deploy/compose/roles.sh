#!/bin/bash
# PostgreSQL's image runs this once, when its volume is new: what the local stack's `prepare_server` does. Nobody gets in
# who was not let in by name; the registry has a database of its own, and the exporter may look.
set -euo pipefail
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
    --set=registry="$(</run/secrets/registry_password)" --set=exporter="$(</run/secrets/exporter_password)" <<'SQL'
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
CREATE ROLE registry LOGIN PASSWORD :'registry';
CREATE DATABASE registry OWNER registry;
REVOKE ALL ON DATABASE registry FROM PUBLIC;
CREATE ROLE exporter LOGIN PASSWORD :'exporter';
GRANT pg_monitor TO exporter;
GRANT CONNECT ON DATABASE postgres TO exporter;
SQL
