"""Writes docker-compose.yml and what it mounts, as they follow from the code now."""

from local.compose.document import document
from local.compose.files import files
from local.layout import ROOT

DEPLOY = ROOT / "deploy" / "compose"


def main() -> None:
    """Writes all of them; those that are as they should be stay as they are."""
    (ROOT / "docker-compose.yml").write_text(document())
    for name, text in files().items():
        path = DEPLOY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (DEPLOY / "secrets.sh").chmod(0o755)


if __name__ == "__main__":
    main()
