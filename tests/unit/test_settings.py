"""Where a process learns where things are."""

from pathlib import Path

import pytest

from kernel import events, settings
from kernel.settings import MissingSetting
from schemas.codec import Codec

URL = "http://registry.test/apis"


def test_a_setting_is_a_variable_or_what_is_in_the_file_that_one_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "redis").write_text("redis://from-a-file\n")
    monkeypatch.delenv("MAREA_REDIS_URL", raising=False)
    monkeypatch.setenv("MAREA_REDIS_URL_FILE", str(tmp_path / "redis"))
    assert settings.redis_url() == "redis://from-a-file"
    monkeypatch.setenv("MAREA_REDIS_URL", "redis://as-it-is")
    assert settings.redis_url() == "redis://as-it-is"


def test_one_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAREA_REDIS_URL", raising=False)
    with pytest.raises(MissingSetting, match="MAREA_REDIS_URL is not set"):
        settings.redis_url()


def test_the_codec_looks_for_the_registry_where_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "registry").write_text(URL)
    monkeypatch.delenv("MAREA_REGISTRY_URL", raising=False)
    monkeypatch.setenv("MAREA_REGISTRY_URL_FILE", str(tmp_path / "registry"))
    asked: list[str] = []

    def connect(url: str, shared: int, topics: tuple[str, ...]) -> Codec:
        asked.append(url)
        return Codec.__new__(Codec)

    monkeypatch.setattr(events, "_codec", connect)
    events.codec()
    assert asked == [URL]
