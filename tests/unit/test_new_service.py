"""A new service is its folder: everything else follows from its manifest."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

import api
from api import services as found
from api.manifest import Service, gauge
from api.services import BadManifest, check, consumers, services, topics
from api.web.openapi import document
from api.wsgi import create_app
from kernel.deadlines import Deadline
from kernel.settings import MissingSetting
from kernel.tasks import Call
from local import layout as layouts
from local.compose.document import document as document_of_compose
from local.compose.files import files
from local.layout import PARTITIONS, Layout
from local.programs import nginx, prometheus, workers
from local.programs import services as programs
from ops import consumers as looks
from ops import positions
from ops.databases import service_urls
from streams.engine.consumer import Reaction, consumer_id
from streams.engine.stores import LaneId, Progress
from streams.feeds import choices, feeds, needs, open_caller, reacting
from tests.loyalty import WITH_CALLS, WITHOUT_DATABASE, write_loyalty

PORT = 23_400
GAUGE = gauge("marea_test", "What is tested.", "SELECT 1")
WITH_DATABASE = """
        topics=("marea.points",),
        states={"marea.points": "SELECT 1"},
        reactions=(Reaction("loyalty.points", "loyalty", "marea.order", frozenset(), print, iter, ""),),
        gauges=(gauge("marea_points_given", "Points that were given.", "SELECT 1"),),
"""
CALL = Call("gift", print, print, print)  # type: ignore[arg-type]
CACHES = (found.services, found.consumers, found.views, found.tables, found.reactions)


def forget() -> None:
    for cache in CACHES:
        cache.cache_clear()
    for module in [name for name in sys.modules if name.startswith("api.loyalty")]:
        del sys.modules[module]


@pytest.fixture(params=[WITHOUT_DATABASE, WITH_DATABASE], ids=["without a database", "with a database"])
def new(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service in a folder of its own, and nothing else anywhere."""
    write_loyalty(tmp_path, request.param)
    monkeypatch.setattr(api, "__path__", [*api.__path__, str(tmp_path)])
    monkeypatch.setattr(layouts, "STATE", tmp_path)
    forget()
    yield found.service("loyalty")
    forget()
    vars(api).pop("loyalty", None)


with_calls = pytest.mark.parametrize("new", [WITH_CALLS], indirect=True, ids=["with calls"])


def test_it_is_found_by_its_folder_and_takes_nobodys_port(new: Service) -> None:
    assert new in services()
    layout = Layout(PORT)
    assert layout.port_of("loyalty") == PORT + 42
    assert [layout.port_of(each.name) - PORT for each in services()] == [each.number for each in services()]


def test_the_front_door_leads_to_it(new: Service) -> None:
    settings = nginx.configuration(nginx.door(Layout(PORT)))
    assert f"upstream loyalty {{ server 127.0.0.1:{PORT + 42};" in settings
    assert "location ~ ^/v1/points(?=$|[/:]) { proxy_pass http://loyalty; if ($malformed) { return 400; } }" in settings
    assert "~^/v1/points(?=$|[/:]) loyalty;" in settings
    assert "location ~ ^/v1/points/stream$ { proxy_pass http://loyalty; proxy_buffering off;" in settings
    assert "/v1/points/{customer}" in document(services())["paths"]


def test_its_database_follows_if_it_has_one(new: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(PORT)
    for name, value in layout.environment.items():
        monkeypatch.setenv(name, value)
    variable = "MAREA_LOYALTY_DATABASE_URL"
    [program] = [program for program in programs.programs(layout) if program.name == "loyalty"]
    assert program.port == PORT + 42
    for where in (layouts.databases(), layout.secrets, service_urls()):
        assert ("loyalty" in where) == new.has_database
    for environment in (layout.environment, program.environment):
        assert (variable in environment) == new.has_database


def test_a_setting_of_its_own_reaches_it_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREA_PAY_BY_S", "60")
    [chooser] = [each for each in services() if "PAY_BY_S" in each.settings]
    for program in programs.programs(Layout(PORT)):
        told = program.environment.get("MAREA_PAY_BY_S")
        assert told == ("60" if program.name == chooser.name else None)
    monkeypatch.delenv("MAREA_PAY_BY_S")
    assert all("MAREA_PAY_BY_S" not in program.environment for program in programs.programs(Layout(PORT)))


def test_its_topics_and_consumers_follow(new: Service) -> None:
    ids = {consumer_id(consumer) for consumer in consumers()}
    assert "view.points" in ids
    assert ("marea.points" in topics()) == new.has_database
    assert ("reaction.loyalty.points" in ids) == new.has_database


def test_its_consumers_are_looked_at_and_no_database_that_it_has_not(
    new: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def stored_progress(url: str, reactions: Sequence[Reaction]) -> dict[LaneId, Progress]:
        asked.extend(each.service for each in reactions)
        return {}

    for name, value in Layout(PORT).environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(positions, "live_progress", lambda client, view, partitions: {})
    monkeypatch.setattr(positions, "_of_tables", lambda tables: {consumer_id(table): {} for table in tables})
    monkeypatch.setattr(positions, "stored_progress", stored_progress)
    monkeypatch.setattr(looks, "topics_ends", lambda: {topic: dict.fromkeys(range(PARTITIONS), 0) for topic in topics()})
    monkeypatch.setattr(looks, "unassigned", lambda: {feed: [] for feed in feeds()})
    monkeypatch.setattr(looks, "changed", list)
    assert {fare.name: fare.state for fare in looks.fares()} == {
        consumer_id(consumer): "up to date" for consumer in consumers()
    }
    assert ("loyalty" in asked) == new.has_database


def test_it_is_scraped_and_what_it_counts_of_its_own_is_known(new: Service) -> None:
    layout = Layout(PORT)
    assert prometheus.targets(layout)["services"]["loyalty"] == f"127.0.0.1:{PORT + 42}"
    composed = prometheus.compose_configuration()
    assert '- targets: ["loyalty:8080"]\n        labels: {instance: loyalty}' in composed
    assert ("worker-reactions-loyalty:8080" in composed) == new.has_database
    assert ("marea_points_given" in {metric.name for metric in found.metrics()}) == new.has_database
    [program] = [program for program in programs.programs(layout) if program.name == "loyalty"]
    assert program.port == layout.port_of("loyalty")


def test_it_is_served_without_a_line_more(new: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in Layout(PORT).environment.items():
        monkeypatch.setenv(name, value)
    client = create_app("loyalty").test_client()
    assert client.get("/v1/points/ada").get_json() == {"customer": "ada", "points": 0}
    assert client.get("/health/ready").get_json() == {"status": "ok"}
    assert client.get("/health/live").get_json() == {"status": "ok"}
    assert 'http_route="/v1/points/<customer>"' in client.get("/metrics").get_data(as_text=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"number": 0}, "number 0: give it one from 1 to 50"),
        ({"number": 51}, "number 51: give it one from 1 to 50"),
        ({"states": {}}, "has states of"),
        ({"states": {"marea.other": "SELECT 1"}}, "has states of"),
        ({"has_database": False}, "has no database"),
        ({"has_database": False, "topics": (), "states": {}, "reactions": (), "gauges": (GAUGE,)}, "no gauges"),
        ({"reactions": (), "deadlines": (Deadline("d", print),)}, "deadlines and no reactions"),
        ({"reactions": (), "deadlines": (), "calls": (CALL,)}, "calls and no reactions"),
        ({"calls": (CALL, CALL)}, "two calls of one kind"),
        ({"settings": {"KEY": ""}, "secrets": ("KEY",)}, "among its settings and among its secrets"),
        ({"streams": ("elsewhere/stream",)}, "streams at elsewhere/stream"),
        ({"reactions": (Reaction("r", "other", "", frozenset(), print, iter, ""),)}, "of other"),  # type: ignore[arg-type]
    ],
)
def test_a_service_that_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    reacting_one = next(each for each in services() if each.reactions and each.deadlines)
    with pytest.raises(BadManifest, match=said):
        check([replace(reacting_one, **changes)])


@pytest.mark.parametrize("what", ["name", "number", "paths", "streams", "topics", "views", "gauges"])
def test_two_services_can_not_claim_the_same(what: str) -> None:
    first, second = services()[:2]
    if what == "streams":
        first = replace(first, streams=(f"{first.paths[0]}/{{id}}/stream",))
    claimed = {what: getattr(first, what)}
    if what == "name":
        claimed["reactions"] = ()
    if what == "topics":
        claimed["states"] = first.states
    if what == "gauges":
        first, claimed = replace(first, gauges=(GAUGE,)), {"gauges": (GAUGE,)}
    if what == "paths":
        claimed["streams"] = ()
    with pytest.raises(BadManifest, match=f"{first.name} and .* both claim the"):
        check([first, replace(second, **claimed)])


def test_the_services_that_there_are_can_be(new: Service) -> None:
    check(services())
    assert import_module("api.loyalty.service").SERVICE is new


def test_it_has_its_container_worker_and_secret_and_a_place_behind_the_door_of_compose(new: Service) -> None:
    found = yaml.safe_load(document_of_compose())["services"]
    assert found["loyalty"]["environment"]["MAREA_SERVICE"] == "loyalty"
    assert found["nginx"]["depends_on"]["loyalty"] == {"condition": "service_healthy"}
    assert "upstream loyalty { zone loyalty 64k; server loyalty:8080 resolve;" in files()["nginx/nginx.conf"]
    assert ("loyalty_database_url" in found["loyalty"]["secrets"]) == new.has_database
    assert ("worker-reactions-loyalty" in found) == new.has_database
    assert ("put loyalty_database_url" in files()["secrets.sh"]) == new.has_database


@with_calls
def test_its_secrets_reach_its_process_and_what_its_calls_read_those_who_make_them(
    new: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREA_GIFT_POINTS", "9")
    layout = Layout(PORT)
    given = {program.name: program.environment for program in (*programs.programs(layout), *workers.programs(layout))}
    assert {name for name, environment in given.items() if "MAREA_STAFF_KEY" in environment} == {"loyalty"}
    assert {name for name, environment in given.items() if "MAREA_GIFT_KEY" in environment} == {"worker-1"}
    assert {name for name, told in given.items() if told.get("MAREA_GIFT_POINTS") == "9"} == {"loyalty", "worker-1"}
    assert given["worker-1"]["MAREA_GIFT_KEY"] == layout.secrets["gift_key"] != layout.secrets["staff_key"]


@with_calls
def test_in_containers_its_secrets_are_files_of_their_own(new: Service) -> None:
    found = yaml.safe_load(document_of_compose())
    holders = {
        name: {secret for secret in ("staff_key", "gift_key") if secret in each.get("secrets", ())}
        for name, each in found["services"].items()
    }
    assert {name: held for name, held in holders.items() if held} == {
        "loyalty": {"staff_key"},
        "worker-reactions-loyalty": {"gift_key"},
        "demo": {"staff_key", "gift_key"},
        "ops": {"staff_key", "gift_key"},
    }
    worker = found["services"]["worker-reactions-loyalty"]["environment"]
    assert worker["MAREA_GIFT_KEY_FILE"] == "/run/secrets/gift_key"
    assert worker["MAREA_GIFT_POINTS"] == "${MAREA_GIFT_POINTS:-7}"
    assert "MAREA_GIFT_NAME" not in worker, "no call reads it"
    script = files()["secrets.sh"]
    assert "gift_key=$(password gift_key)" in script
    assert 'put gift_key "${gift_key}"' in script


@with_calls
def test_its_calls_are_made_where_its_reactions_are_with_the_settings_that_they_read(
    new: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert new in reacting(["reactions.loyalty"])
    assert new not in reacting(["views", "reactions.orders"])
    for name in needs("reactions.loyalty"):
        with pytest.raises(MissingSetting, match=name):
            open_caller("loyalty", Event())
        monkeypatch.setenv(f"MAREA_{name}", "postgresql://loyalty@127.0.0.1:1/marea")
    open_caller("loyalty", Event())
    assert needs("reactions.loyalty") == ("LOYALTY_DATABASE_URL", "GIFT_KEY")
    assert choices("reactions.loyalty") == {"GIFT_POINTS": "7"}
