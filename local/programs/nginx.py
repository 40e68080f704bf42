"""nginx, the front door: one address for all services, their OpenAPI document and the page to try it."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from api.manifest import Service
from api.services import services
from local.layout import HOST, Layout
from local.program import Program, http_get, numbers

#: The user of root's nginx's workers, as everywhere on Debian: it may do nothing in particular.
_USER = "www-data"
_FIRST_WITH_EARLY_LOG = (1, 19, 5)
_MAX_BODY = "4m"
#: To clients and to services together, at once.
WORKER_CONNECTIONS = 1024
_ERRORS = {
    400: "Bad Request",
    404: "Not Found",
    413: "Content Too Large",
    414: "URI Too Long",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_DETAILS = {
    400: "This is not HTTP, or its headers are too long.",
    404: "There is nothing at this path.",
    413: f"The body is larger than {_MAX_BODY.removesuffix('m')} MiB.",
    414: "The path is too long.",
    502: "The service does not answer. Try again.",
    503: "The service does not answer. Try again.",
    504: "The service took too long. What was asked may still happen.",
}
_SETTINGS = """
{user}
worker_processes 1;
daemon off;
pid "{run}/nginx.pid";
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    include /etc/nginx/mime.types;
    types {{ application/problem+json problem; }}
    default_type application/octet-stream;
    server_tokens off;
    keepalive_requests 100000;
    client_max_body_size {max_body};
    client_body_temp_path "{front}/body";
    proxy_temp_path "{front}/proxy";
    fastcgi_temp_path "{front}/fastcgi";
    uwsgi_temp_path "{front}/uwsgi";
    scgi_temp_path "{front}/scgi";
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_connect_timeout 2s;
    proxy_read_timeout 15s;
    # A command is sent once: only its sender may repeat it.
    proxy_next_upstream off;
{upstreams}
    server {{
        listen {host}:{port};
{errors}
{locations}
        location = /v1/openapi.json {{ root "{web}"; }}
        location = / {{ return 302 /docs/; }}
        location = /docs {{ return 302 /docs/; }}
        location = /docs/ {{ root "{web}"; try_files /docs.html =404; default_type text/html; }}
        location /docs/ {{ root "{web}"; }}
        location / {{ return 404; }}
    }}
}}
"""
_UPSTREAM = """
    upstream {service} {{ server {address}; keepalive 64; }}"""
_LOCATION = """
        location ~ ^/v1/{path}(?=$|[/:]) {{ proxy_pass http://{service}; }}"""
_STREAM = """
        location = /v1/{path} {{ proxy_pass http://{service}; proxy_buffering off; proxy_read_timeout 1h; }}"""
_ERROR = """
        error_page {status} /problem/{status};
        location = /problem/{status} {{
            internal;
            default_type application/problem+json;
            return {status} '{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}"}}';
        }}"""


def program(layout: Layout) -> Program:
    """The front door."""
    found, settings = _version(), layout.run / "nginx.conf"
    return Program(
        name="nginx",
        version=found,
        port=layout.port_of("nginx"),
        command=("nginx", *early_log(found), "-p", str(layout.run), "-c", str(settings)),
        files={settings: configuration(layout)},
        prepare=lambda: _prepare(layout),
        after=("openapi", "relay", *(each.name for each in services())),
        check=lambda: _check(layout),
        stop_signal="QUIT",  # ends the requests that are under way first
    )


def _version() -> str:
    said = subprocess.run(["nginx", "-v"], check=True, capture_output=True, text=True).stderr
    return said.partition("nginx/")[2].split()[0]


def early_log(found: str) -> tuple[str, ...]:
    """Where to write before the settings are read. Older ones try their own log then, and only warn if they can't."""
    return ("-e", "stderr") if numbers(found) >= _FIRST_WITH_EARLY_LOG else ()


def configuration(layout: Layout) -> str:
    """The settings: where each service is, and which paths are whose."""
    return _SETTINGS.format(
        user=f"user {_USER};" if os.geteuid() == 0 else "",
        run=layout.run,
        front=layout.front,
        web=_web(layout),
        host=HOST,
        port=layout.port_of("nginx"),
        max_body=_MAX_BODY,
        connections=WORKER_CONNECTIONS,
        upstreams="".join(
            _UPSTREAM.format(service=each.name, address=layout.address(each.name)) for each in services()
        ),
        locations="".join(map(_locations, services())),
        errors="".join(
            _ERROR.format(status=status, title=title, detail=_DETAILS[status])
            for status, title in _ERRORS.items()
        ),
    )


def _locations(service: Service) -> str:
    streams = [_STREAM.format(path=path, service=service.name) for path in service.streams]
    return "".join([*streams, *(_LOCATION.format(path=path, service=service.name) for path in service.paths)])


def _web(layout: Layout) -> Path:
    """The folder of the files that are served."""
    return layout.openapi.parents[1]


def _prepare(layout: Layout) -> None:
    web = _web(layout)
    shutil.copytree(_swagger(), web / "docs", dirs_exist_ok=True)
    (web / "docs.html").write_text(_DOCS)
    for path in (layout.front, web, *web.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever our umask is, its workers can read them


def _swagger() -> Path:
    """The folder of Swagger UI's files."""
    spec = find_spec("flask_openapi3_swagger")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("flask_openapi3_swagger is not installed")
    return Path(spec.origin).parent / "templates" / "swagger"


def _check(layout: Layout) -> None:
    http_get(f"{layout.environment['MAREA_API_URL']}/v1/openapi.json")


_DOCS = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Marea API</title>
  <link rel="stylesheet" href="css/swagger-ui.css">
</head>
<body>
  <div id="api"></div>
  <script src="js/swagger-ui-bundle.js"></script>
  <script>SwaggerUIBundle({url: "/v1/openapi.json", dom_id: "#api"});</script>
</body>
</html>
"""
