#!/bin/bash
# The interface of the image `postgres`, as far as docker-compose.yml relies on it.
set -euo pipefail
data=/var/lib/postgresql/data
if ((EUID == 0)); then
    chown postgres "$data" /var/run/postgresql
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [[ ! -s $data/PG_VERSION ]]; then
    PGPASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
    export PGPASSWORD
    # shellcheck disable=SC2086  # several arguments
    initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
    pg_ctl --pgdata="$data" --wait --options="${*:2} -c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*; do "$script"; done
    pg_ctl --pgdata="$data" --wait --mode=fast stop
    unset PGPASSWORD
fi
exec "$@"
