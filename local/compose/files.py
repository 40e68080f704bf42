"""What docker-compose.yml mounts, and what the image of nginx holds: made by the code that configures the local programs."""

from collections.abc import Mapping
from pathlib import Path

from connectors import worker
from local.compose.containers import PORT, layout, secret_of, secrets, value_of
from local.programs import kafka, nginx, postgresql, redis
from local.programs.nginx import Door

#: Where nginx tells its exporter how it is.
STATUS_PORT = 8081
#: Where a container finds its settings.
_ETC = Path("/etc/marea")
_MADE = "Written by python -m local.compose"

_SECRETS_SH = """\
#!/bin/sh
# Makes the passwords of the stack in containers, in the folder secrets/ beside this file. Those that are there stay, so a
# stack that is up keeps running: remove the folder, and the volumes, for new ones. {made}.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets/roles
cd secrets

# One password a role.
password() {{
    [ -s "roles/$1" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \\n' >"roles/$1"
    cat "roles/$1"
}}
{passwords}

# Files keep their owner and mode in a container, where another user reads them. Only you can enter the folder that they
# are in.
put() {{
    rm -f "$1"
    printf '%s\\n' "$2" >"$1"
    chmod 444 "$1"
}}
{settings}
put admin_password "${{admin}}"
put clickhouse_password "${{clickhouse}}"
put grafana_password "${{grafana}}"
put registry_password "${{registry}}"
put exporter_password "${{exporter}}"
put redis_exporter.json "{{\\"redis://redis:6379\\":\\"${{redis}}\\"}}"
# An ordinal above that of the settings that Apicurio brings.
put registry.properties "config_ordinal=500
apicurio.datasource.password=${{registry}}"
put redis.conf "requirepass ${{redis}}"
"""
#: Roles of the local stack that there are not in containers, and one that is in containers only.
_NOT_HERE, _ONLY_HERE = {"supervisor"}, ("grafana",)


def files() -> Mapping[str, str]:
    """By path from deploy/compose on, the text of each."""
    run = f"# {_MADE}.\n"
    return {
        "postgresql/postgresql.conf": run
        + postgresql.configuration(
            Path("/var/lib/postgresql/data"), _ETC, "*", _port("postgresql"), sockets="/var/run/postgresql"
        ),
        # Inside of the container the image's own scripts come by the socket; with the password, too.
        "postgresql/pg_hba.conf": run + "local all all scram-sha-256" + postgresql.access("samenet"),
        "postgresql/pg_ident.conf": run,
        "redis/redis.conf": run
        + redis.configuration("*", _port("redis"), "include /run/secrets/redis.conf", Path("/data")),
        "kafka/kafka.properties": run
        + kafka.configuration(
            "kafka", _port("kafka"), _port("kafka-controller"), Path("/var/lib/kafka/data")
        ),
        "connect/connect.properties": run
        + worker.settings(
            layout().address("kafka"), "connect", _port("connect"), Path("/opt/kafka/plugins")
        ),
        "nginx/nginx.conf": run + nginx.configuration(_DOOR),
        "secrets.sh": _secrets_sh(),
    }


def _port(name: str) -> int:
    return int(layout().address(name).rpartition(":")[2])


#: Names are asked for again: a container that is made anew has another address.
_DOOR = Door(
    name=f"localhost:{PORT}",
    listen=str(PORT),
    status=str(STATUS_PORT),
    run=Path("/tmp"),  # noqa: S108  the only place where a container may write
    front=Path("/tmp"),  # noqa: S108
    web=Path("/srv/web"),
    server=lambda service: f"zone {service} 64k; server {layout().address(service)} resolve;",
    resolver="    resolver 127.0.0.11 valid=2s ipv6=off;",
)


def _secrets_sh() -> str:
    roles = [role for role in layout().secrets if role not in _NOT_HERE]
    return _SECRETS_SH.format(
        made=_MADE,
        passwords="\n".join(f"{role}=$(password {role})" for role in (*roles, *_ONLY_HERE)),
        settings="\n".join(f'put {secret_of(name)} "{value_of(name)}"' for name in secrets()),
    )
