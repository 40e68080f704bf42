"""nginx, the front door: one address for all services, their OpenAPI document and the page to try it."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from api.manifest import Service
from api.services import services
from local.layout import Layout
from local.program import Program, http_get, numbers

#: The user of root's nginx's workers, as everywhere on Debian: it may do nothing in particular.
_USER = "www-data"
_FIRST_WITH_EARLY_LOG = (1, 19, 5)
_MAX_BODY = "4m"
#: To clients and to services together, at once: a request takes two, and so does a stream for as long as it goes on.
WORKER_CONNECTIONS = 8_192
#: Files that it may have open, beside its connections.
_FILES = 256
#: What is said of what nginx answers itself.
_PROBLEMS = {
    400: ("Bad Request", "This is not HTTP, a header is malformed or comes twice, or the address has what must be percent-encoded."),
    403: ("Forbidden", "This can't be read."),
    404: ("Not Found", "There is nothing at this path."),
    412: ("Precondition Failed", "It is not as the request wants it: read it again."),
    413: ("Content Too Large", f"The body is larger than {_MAX_BODY.removesuffix('m')} MiB."),
    414: ("URI Too Long", "The path is too long."),
    416: ("Range Not Satisfiable", "There is no such part."),
    431: ("Request Header Fields Too Large", "A header is longer than 8,000 bytes, or all together than 32,000."),
    500: ("Internal Server Error", "The front door has failed."),
    501: ("Not Implemented", "The only Transfer-Encoding that is read is chunked."),
    502: ("Bad Gateway", "The service does not answer. Try again."),
    503: ("Service Unavailable", "The service does not answer. Try again."),
    504: ("Gateway Timeout", "The service took too long. What was asked may still happen."),
    505: ("HTTP Version Not Supported", "Speak HTTP/1.1."),
}
#: Those that nginx answers under a number of its own.
_NUMBERS = {431: "494 =431"}

#: The headers that services get, in order of name. All others end here: more than 100, or one that is no text, would
#: be refused behind us without a word why.
HEADERS = (
    *("Accept", "Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
    *("Last-Event-ID", "Marea-Token", "Prefer", "Webhook-Signature", "traceparent"),
)
#: What an address consists of, and what a header's text does (RFC 9110, section 5.5).
_ADDRESS, _TEXT = r"[!$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]", r"[\t\x20-\x7E\x80-\xFF]"

_SETTINGS = """
{user}
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid "{run}/nginx.pid";
error_log stderr warn;
worker_shutdown_timeout 5s; # streams end with it: they never do by themselves
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    include /etc/nginx/mime.types;
    server_tokens off;
    keepalive_requests 100000;
    client_header_timeout 15s;
    client_body_timeout 15s;
    client_max_body_size {max_body};
    large_client_header_buffers 4 8k;
    client_body_temp_path "{front}/body";
    proxy_temp_path "{front}/proxy";
    fastcgi_temp_path "{front}/fastcgi";
    uwsgi_temp_path "{front}/uwsgi";
    scgi_temp_path "{front}/scgi";
    proxy_http_version 1.1;
    # An answer's headers: a token names a version for each partition.
    proxy_buffer_size 16k;
    proxy_buffers 8 16k;
    proxy_busy_buffers_size 32k;
    proxy_pass_request_headers off;
    proxy_set_header Connection "";
    # Ours, whatever a client says: no answer can lead elsewhere.
    proxy_set_header Host "{name}";
{headers}
    proxy_connect_timeout 2s;
    proxy_read_timeout 15s;
    # A command is sent once: only its sender may repeat it.
    proxy_next_upstream off;
{resolver}
{upstreams}
    map $uri $service {{
        default "";
{services}
    }}
    map "$request_uri {values}" $malformed {{
        default 1;
        "~^{address}* {text}*$" "";
    }}
    server {{
        # For the exporter: the front door has no such path.
        listen {status};
        location = /status {{ stub_status; }}
    }}
    server {{
        listen {listen};
        merge_slashes off;
{errors}
        # nginx refuses TRACE and CONNECT itself. What a path allows its service says: it is asked with one of them.
        error_page 405 = @not_allowed;
        location @not_allowed {{
            types {{ }}
            default_type application/problem+json;
            recursive_error_pages on;
            if ($service = "") {{
                add_header Allow "GET, HEAD" always;
                return 405 '{not_allowed}';
            }}
            proxy_method TRACE;
            proxy_pass http://$service;
        }}
{locations}
        location = /v1/openapi.json {{ root "{web}"; }}
        location ~ ^/(docs/?)?$ {{ root "{web}"; try_files /docs.html =404; default_type text/html; }}
        location /docs/ {{ root "{web}"; try_files $uri =404; }}
        location / {{ return 404; }}
    }}
}}
"""
_UPSTREAM = """
    upstream {service} {{ {server} keepalive 64; }}"""
_LOCATION = """
        location ~ {path} {{ proxy_pass http://{service}; {check} }}"""
_STREAM = """
        location ~ {path} {{ proxy_pass http://{service}; proxy_buffering off; proxy_read_timeout 1m; {check} }}"""
_CHECK = "if ($malformed) { return 400; }"
_ERROR = """
        error_page {number} /problem/{status};
        location = /problem/{status} {{
            internal;
            default_type application/problem+json;
            return {status} '{problem}';
        }}"""


def program(layout: Layout) -> Program:
    """The front door."""
    found, settings = _version(), layout.run / "nginx.conf"
    return Program(
        name="nginx",
        version=found,
        port=layout.port_of("nginx"),
        command=("nginx", *early_log(found), "-p", str(layout.run), "-c", str(settings)),
        files={settings: configuration(door(layout))},
        prepare=lambda: _prepare(layout),
        after=("web", "relay", *(each.name for each in services())),
        check=lambda: _check(layout),
        stop_signal="QUIT",  # ends the requests that are under way first
    )


def _version() -> str:
    said = subprocess.run(["nginx", "-v"], check=True, capture_output=True, text=True).stderr
    return said.partition("nginx/")[2].split()[0]


def early_log(found: str) -> tuple[str, ...]:
    """Where to write before the settings are read. Older ones try their own log then, and only warn if they can't."""
    return ("-e", "stderr") if numbers(found) >= _FIRST_WITH_EARLY_LOG else ()


@dataclass(frozen=True)
class Door:
    """Where a front door is: what else differs between two of them.

    `name` is host:port, by which clients know it. It listens at `listen`, for clients, and at `status`, for the exporter. It
    keeps its process id in `run` and what it buffers in `front`, and serves the files in `web`. `server` gives nginx's words for where a service is; `resolver` says whom to
    ask for names. `user` is that of its workers, where it is started by root.
    """

    name: str
    listen: str
    status: str
    run: Path
    front: Path
    web: Path
    server: Callable[[str], str]
    resolver: str = ""
    user: str = ""


def door(layout: Layout) -> Door:
    """The local stack's."""
    address = layout.address("nginx")
    return Door(
        name=address,
        listen=address,
        status=layout.address("nginx-status"),
        run=layout.run,
        front=layout.front,
        web=layout.web,
        server=lambda service: f"server {layout.address(service)};",
        user=f"user {_USER};" if os.geteuid() == 0 else "",
    )


def configuration(door: Door) -> str:
    """The settings: where each service is, and which paths are whose."""
    return _SETTINGS.format(
        user=door.user,
        run=door.run,
        front=door.front,
        web=door.web,
        name=door.name,
        listen=door.listen,
        status=door.status,
        resolver=door.resolver,
        max_body=_MAX_BODY,
        connections=WORKER_CONNECTIONS,
        files=WORKER_CONNECTIONS + _FILES,
        upstreams="".join(
            _UPSTREAM.format(service=each.name, server=door.server(each.name)) for each in services()
        ),
        headers="\n".join(f"    proxy_set_header {name} {_value(name)};" for name in HEADERS),
        values="".join(map(_value, HEADERS)),
        address=_ADDRESS,
        text=_TEXT,
        services="\n".join(f"        ~{path} {each.name};" for of in (_streams, _paths) for each in services() for path in of(each)),
        locations="".join(
            [_location(_STREAM, each, path) for each in services() for path in _streams(each)]
            + [_location(_LOCATION, each, path) for each in services() for path in _paths(each)]
        ),
        errors="".join(map(_error, _PROBLEMS)),
        not_allowed=_problem(405, "Method Not Allowed", "The path does not have this method: see Allow."),
    )


def _value(header: str) -> str:
    """The variable of a request's header."""
    return f"$http_{header.lower().replace('-', '_')}"


def _error(status: int) -> str:
    problem = _problem(status, *_PROBLEMS[status])
    return _ERROR.format(status=status, number=_NUMBERS.get(status, status), problem=problem)


def _problem(status: int, title: str, detail: str) -> str:
    """In JSON, for nginx within single quotes."""
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json.dumps(problem).replace("'", r"\'")


def _location(template: str, service: Service, path: str) -> str:
    return template.format(path=path, service=service.name, check=_CHECK)


def _streams(service: Service) -> list[str]:
    """The expressions for its streams: they come before all paths, as the first that fits counts."""
    return [f"^/v1/{re.sub('{[^}]*}', '[^/]+', path)}$" for path in service.streams]


def _paths(service: Service) -> list[str]:
    """The expressions for what is at its paths, and below."""
    return [f"^/v1/{path}(?=$|[/:])" for path in service.paths]


def _prepare(layout: Layout) -> None:
    web = layout.web
    for path in (layout.front, web, *web.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever our umask is, its workers can read them


def _check(layout: Layout) -> None:
    http_get(f"{layout.environment['MAREA_API_URL']}/v1/openapi.json")
