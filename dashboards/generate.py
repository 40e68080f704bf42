"""`python -m dashboards.generate`: writes dashboards/json anew; a test fails when it is not what the code says."""

import json
from pathlib import Path

from dashboards.every import DASHBOARDS
from dashboards.grafana import as_json

FOLDER = Path(__file__).parent / "json"


def files() -> dict[str, str]:
    """By name, the text of each file."""
    texts = {each.uid: json.dumps(as_json(each), indent=2, ensure_ascii=False) + "\n" for each in DASHBOARDS}
    return {f"{uid}.json": text for uid, text in texts.items()}


def main() -> None:
    """Writes the files, and deletes those of dashboards that are no more."""
    made = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
