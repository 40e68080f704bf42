"""Alerts: each is tested, has a section for whoever it wakes, and rests on what is measured."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from api.services import metrics
from local.layout import ROOT, Layout
from local.programs import prometheus
from local.programs.prometheus import ALERTMANAGER, COMPOSE, RULES

CASES = RULES.parent / "tests"
#: What others measure, by those of their names that we rely on.
FOREIGN = {"up", "redis_evicted_keys_total"}
SECTIONS = ("**Means**", "**Look at**", "**Do**")


def read(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.yml")))


def names(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text))


ALERTS = sorted(names(r"- alert: (\w+)", read(RULES)))


def run(*command: str) -> str:
    """What a program says that has to succeed."""
    if shutil.which(command[0]) is None:
        pytest.fail(f"{command[0]} is not installed: ./marea installs it")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_rules_and_each_is_there_when_it_should_be_and_not_before() -> None:
    run("promtool", "check", "rules", *map(str, RULES.glob("*.yml")))
    run("promtool", "test", "rules", *map(str, CASES.glob("*.yml")))


def test_alertmanager_takes_its_configuration() -> None:
    run("amtool", "check-config", str(ALERTMANAGER))


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_in_which_it_fires(alert: str) -> None:
    fires = rf"alertname: {alert}\n +exp_alerts:\n"
    assert re.search(fires, read(CASES)), f"deploy/prometheus/tests/ has no case in which {alert} fires"


@pytest.mark.parametrize("alert", [alert for alert in ALERTS if alert != "Watchdog"])
def test_an_alert_has_a_case_in_which_it_does_not_fire(alert: str) -> None:
    assert f"alertname: {alert}\n        exp_alerts: []" in read(CASES)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_where_to_read_what_to_do_and_that_is_there(alert: str) -> None:
    rules = read(RULES).split("- alert: ")
    mine = [rule for rule in rules if rule.startswith(f"{alert}\n")]
    assert all(f"runbook: docs/operate.md#{alert.lower()}\n" in f"{rule}\n" for rule in mine)
    [_, section] = (ROOT / "docs" / "operate.md").read_text().split(f"### {alert}\n")
    section = section.partition("\n### ")[0]
    assert [part for part in SECTIONS if part not in section] == []


def test_no_section_is_of_an_alert_that_there_is_not() -> None:
    assert names(r"### (\w+)", (ROOT / "docs" / "operate.md").read_text()) == set(ALERTS)


def test_an_alert_rests_on_what_is_measured() -> None:
    used = names(r"\b((?:marea|redis|messaging|http|db)_\w+|up)\b(?=[\[{ ]|$)", read(RULES))
    assert used
    assert used <= {metric.name for metric in metrics()} | FOREIGN


def test_what_is_committed_for_compose_is_what_the_manifests_say() -> None:
    assert COMPOSE.read_text() == prometheus.compose_configuration(), f"{COMPOSE} is out of date: its first line says how"


def test_the_settings_that_are_made_are_such_as_prometheus_takes(tmp_path: Path) -> None:
    for name, text in (
        ("local", prometheus.configuration(prometheus.targets(Layout(23_400)), "rules/*.yml", "127.0.0.1:1")),
        ("compose", prometheus.compose_configuration()),
    ):
        path = tmp_path / f"{name}.yml"
        path.write_text(text)
        run("promtool", "check", "config", "--syntax-only", str(path))


def test_a_test_need_not_wait_for_minutes() -> None:
    rule = "expr: changes(a[1m]) > 26 * 3600 or b > 2e9\nfor: 4m\n"
    assert prometheus.hurried(rule, 2) == "expr: changes(a[10s]) > 26 * 3600 or b > 2e7\nfor: 2s\n"
    assert prometheus.hurried(rule, None) == rule
    assert not re.search(r"for: \d+[mh]|\[\d+[mh]\]", prometheus.hurried(read(RULES), 2))
