"""The files that the front door serves, for all services: `python -m api.web.files FOLDER` writes them."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import orjson

from api.services import services
from api.web.openapi import document

_OPENAPI = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_DOCS = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Marea API</title>
  <link rel="stylesheet" href="/docs/css/swagger-ui.css">
</head>
<body>
  <div id="api"></div>
  <script src="/docs/js/swagger-ui-bundle.js"></script>
  <script>SwaggerUIBundle({url: "/v1/openapi.json", dom_id: "#api"});</script>
</body>
</html>
"""


def write(folder: Path) -> None:
    """The OpenAPI document, and the page to try it with what that needs. What is there already is written anew."""
    shutil.copytree(_swagger(), folder / "docs", dirs_exist_ok=True)
    (folder / "docs.html").write_text(_DOCS)
    (folder / "v1").mkdir(exist_ok=True)
    (folder / "v1" / "openapi.json").write_bytes(orjson.dumps(document(services()), option=_OPENAPI))


def _swagger() -> Path:
    """The folder of Swagger UI's files."""
    spec = find_spec("flask_openapi3_swagger")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("flask_openapi3_swagger is not installed")
    return Path(spec.origin).parent / "templates" / "swagger"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
