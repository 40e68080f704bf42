"""PostgreSQL. It refuses to run as root, so root starts it as Debian's user `postgres`."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from local.layout import HOST, Layout
from local.program import NotReady, Program, Unfit, at_least, run_as

_USER = "postgres"
_OLDEST = (13,)

# The disk is shared by every program of the stack, so checkpoints are few and spread out.
_SETTINGS = """
data_directory = '{data}'
hba_file = '{run}/pg_hba.conf'
ident_file = '{run}/pg_ident.conf'
listen_addresses = '{host}'
port = {port}
unix_socket_directories = '{sockets}'
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '256MB'
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
# A relay that stands still must not fill the disk; `ops keep` mends a slot that was given up.
max_slot_wal_keep_size = '4GB'
synchronous_commit = on
wal_compression = on
max_wal_size = '2GB'
checkpoint_timeout = '15min'
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_line_prefix = '%m [%p] %u '
"""
_HBA = """
host all         all      {clients} scram-sha-256
host replication debezium {clients} scram-sha-256
"""


def program(layout: Layout) -> Program:
    """One server with every service's schema."""
    data = layout.data("postgresql")
    binaries = binaries_for(data, _installed())
    return Program(
        name="postgresql",
        version=_version(binaries) if binaries else f"{_kept_version(data)}, not installed",
        port=layout.port_of("postgresql"),
        command=(f"{binaries}/postgres", "-c", f"config_file={layout.run / 'postgresql.conf'}"),
        examine=lambda: examine(data, _installed()),
        files={
            layout.run / "postgresql.conf": configuration(
                data, layout.run, HOST, layout.port_of("postgresql"), sockets=""
            ),
            layout.run / "pg_hba.conf": access(f"{HOST}/32"),
            layout.run / "pg_ident.conf": "",
        },
        prepare=lambda: _prepare(layout, data),
        check=lambda: _check(layout),
        stop_signal="INT",  # fast: ends sessions, and shuts down cleanly
        user=_USER,
    )


def configuration(data: Path, run: Path, host: str, port: int, sockets: str) -> str:
    """The server's settings: where its data and its other settings are, and where it listens."""
    return _SETTINGS.format(data=data, run=run, host=host, port=port, sockets=sockets)


def access(clients: str) -> str:
    """Who may connect from where: everybody with his password, and only over TCP."""
    return _HBA.format(clients=clients)


def _installed() -> Mapping[int, Path]:
    """The folders of binaries, by major version."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return {int(path.parent.name): path for path in found}


def _kept_version(data: Path) -> int | None:
    """The major version that made the data, which no other can read."""
    kept = data / "PG_VERSION"
    return int(kept.read_text()) if kept.exists() else None


def binaries_for(data: Path, installed: Mapping[int, Path]) -> Path | None:
    """Those that the data needs, if they are installed; the newest where there is no data yet."""
    return installed.get(_kept_version(data) or max(installed, default=0))


def examine(data: Path, installed: Mapping[int, Path]) -> None:
    """Raises Unfit."""
    kept = _kept_version(data)
    if kept and kept not in installed:
        raise Unfit(
            f"the data in {data} was made by PostgreSQL {kept}, which is not installed any more"
            f" (installed: {', '.join(map(str, sorted(installed))) or 'none'}):"
            f" install postgresql-{kept}, or delete the stack's data with ./marea reset"
        )
    at_least(
        "PostgreSQL",
        str(kept or max(installed, default=0)),
        _OLDEST,
        "for partitioned tables in publications",
    )


def _version(binaries: Path) -> str:
    said = subprocess.run(
        [binaries / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout
    return said.split()[2]


def _prepare(layout: Layout, data: Path) -> None:
    binaries = binaries_for(data, _installed())
    if binaries and not (data / "PG_VERSION").exists():
        _make_cluster(data, binaries, layout.secrets["admin"])


def _make_cluster(data: Path, binaries: Path, password: str) -> None:
    as_user = run_as(_USER)
    # Made aside: a cluster that was half made when somebody pressed Ctrl-C must not be taken for one.
    new = data.with_name("postgresql.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if as_user:
        shutil.chown(new, _USER, _USER)
    initdb = [str(binaries / "initdb"), "--pgdata", str(new), "--username=admin", "--auth=scram-sha-256"]
    # Locale C: text is ordered by bytes, as in Python.
    initdb += ["--pwfile=/dev/stdin", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command = ["setpriv", *as_user, "--", *initdb] if as_user else initdb
    subprocess.run(command, input=password, check=True, text=True, stdout=subprocess.DEVNULL)
    new.rename(data)


def _check(layout: Layout) -> None:
    try:
        connection = psycopg2.connect(layout.database_url("admin", "postgres"), connect_timeout=2)
    except psycopg2.OperationalError as error:
        raise NotReady(str(error)) from error
    connection.close()
