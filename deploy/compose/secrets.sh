#!/bin/sh
# Makes the passwords of the stack in containers, in the folder secrets/ beside this file. Those that are there stay, so a
# stack that is up keeps running: remove the folder, and the volumes, for new ones. Written by python -m local.compose.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets/roles
cd secrets

# One password a role.
password() {
    [ -s "roles/$1" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"roles/$1"
    cat "roles/$1"
}
admin=$(password admin)
debezium=$(password debezium)
registry=$(password registry)
redis=$(password redis)
clickhouse=$(password clickhouse)
exporter=$(password exporter)
catalog=$(password catalog)
inventory=$(password inventory)
orders=$(password orders)
payments=$(password payments)
shipping=$(password shipping)
carrier_key=$(password carrier_key)
carrier_webhook_secrets=$(password carrier_webhook_secrets)
operator_key=$(password operator_key)
provider_key=$(password provider_key)
provider_webhook_secrets=$(password provider_webhook_secrets)
grafana=$(password grafana)

# Files keep their owner and mode in a container, where another user reads them. Only you can enter the folder that they
# are in.
put() {
    rm -f "$1"
    printf '%s\n' "$2" >"$1"
    chmod 444 "$1"
}
put admin_database_url "postgresql://admin:${admin}@postgresql:5432/marea"
put carrier_key "${carrier_key}"
put carrier_webhook_secrets "${carrier_webhook_secrets}"
put catalog_database_url "postgresql://catalog:${catalog}@postgresql:5432/marea"
put clickhouse_url "http://marea:${clickhouse}@clickhouse:8123/marea"
put debezium_password "${debezium}"
put inventory_database_url "postgresql://inventory:${inventory}@postgresql:5432/marea"
put operator_key "${operator_key}"
put orders_database_url "postgresql://orders:${orders}@postgresql:5432/marea"
put payments_database_url "postgresql://payments:${payments}@postgresql:5432/marea"
put provider_key "${provider_key}"
put provider_webhook_secrets "${provider_webhook_secrets}"
put redis_url "redis://:${redis}@redis:6379/0"
put shipping_database_url "postgresql://shipping:${shipping}@postgresql:5432/marea"
put admin_password "${admin}"
put clickhouse_password "${clickhouse}"
put grafana_password "${grafana}"
put registry_password "${registry}"
put exporter_password "${exporter}"
put redis_exporter.json "{\"redis://redis:6379\":\"${redis}\"}"
# An ordinal above that of the settings that Apicurio brings.
put registry.properties "config_ordinal=500
apicurio.datasource.password=${registry}"
put redis.conf "requirepass ${redis}"
