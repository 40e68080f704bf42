#!/bin/bash
# The interface of the image `clickhouse/clickhouse-server`, over chDB.
set -euo pipefail
chown clickhouse /var/lib/clickhouse
export MAREA_CLICKHOUSE_URL="http://$CLICKHOUSE_USER:$CLICKHOUSE_PASSWORD@0.0.0.0:8123/$CLICKHOUSE_DB"
unset CLICKHOUSE_PASSWORD
exec setpriv --reuid clickhouse --regid clickhouse --init-groups python3 /opt/chdb_server.py /var/lib/clickhouse
