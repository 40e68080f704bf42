"""Prometheus and Alertmanager: who is asked follows from the manifests, when somebody has to know from deploy/."""

import re
from collections.abc import Mapping

from api.services import services
from local.layout import ROOT, Layout
from local.program import Program, http_get
from local.programs.exporters import version_of
from streams.feeds import feeds

DEPLOY = ROOT / "deploy"
#: What is committed for Compose.
COMPOSE = DEPLOY / "compose" / "prometheus.yml"
RULES = DEPLOY / "prometheus" / "rules"
ALERTMANAGER = DEPLOY / "alertmanager.yml"
#: Seconds between two questions, and between two looks at the rules.
_EVERY_S = 5
#: What is kept of the past on this machine.
_KEPT, _KEPT_SIZE = "2d", "512MB"
#: In a rule: for how long something has to last, and over how long it is compared.
_FOR, _OVER = re.compile(r"(?<=for: )\w+"), re.compile(r"(?<=\[)\d+[smh](?=\])")

#: Where, in Compose, the others answer: exporters at the ports that are usual for them, Java's own by their agents.
_COMPOSE_EXPORTERS = {
    "postgresql": "postgresql-exporter:9187",
    "redis": "redis-exporter:9121",
    "nginx": "nginx-exporter:9113",
    "kafka": "kafka:8080",
    "connect": "connect:8080",
}

#: By job, the addresses by instance.
Targets = Mapping[str, Mapping[str, str]]

_MADE = "# Made from the manifests; anew with: python -c 'from local.programs import prometheus as p; p.write_compose()'\n"
_SETTINGS = """\
global:
  scrape_interval: {every_s}s
  evaluation_interval: {every_s}s
rule_files: ["{rules}"]
alerting:
  alertmanagers:
    - static_configs:
        - targets: ["{alertmanager}"]
scrape_configs:
{jobs}"""
_JOB = """\
  - job_name: {job}
    static_configs:
{targets}"""
_TARGET = """\
      - targets: ["{address}"]
        labels: {{instance: {instance}}}
"""


def program(layout: Layout) -> Program:
    """Prometheus."""
    settings, address = layout.run / "prometheus.yml", layout.address("prometheus")
    rules, after_s = layout.run / "*.rules.yml", layout.alerts_after_s
    text = configuration(targets(layout), str(rules), layout.address("alertmanager"), min(_EVERY_S, after_s or _EVERY_S))
    return Program(
        name="prometheus",
        version=version_of("prometheus", "--version"),
        port=layout.port_of("prometheus"),
        command=(
            *("prometheus", f"--config.file={settings}", f"--web.listen-address={address}"),
            *(f"--storage.tsdb.path={layout.data('prometheus')}", f"--storage.tsdb.retention.time={_KEPT}"),
            *(f"--storage.tsdb.retention.size={_KEPT_SIZE}", "--log.level=warn"),
        ),
        files={
            settings: text,
            **{
                rules.with_name(f"{path.stem}.rules.yml"): hurried(path.read_text(), after_s)
                for path in sorted(RULES.glob("*.yml"))
            },
        },
        after=("alertmanager",),
        check=lambda: _check(address),
    )


def alertmanager(layout: Layout) -> Program:
    """Alertmanager."""
    address = layout.address("alertmanager")
    return Program(
        name="alertmanager",
        version=version_of("prometheus-alertmanager", "--version"),
        port=layout.port_of("alertmanager"),
        command=(
            *("prometheus-alertmanager", f"--config.file={ALERTMANAGER}", f"--web.listen-address={address}"),
            # Alone: else it would listen for others of its kind on all addresses.
            *("--cluster.listen-address=", f"--storage.path={layout.data('alertmanager')}", "--log.level=warn"),
        ),
        sources=lambda: (ALERTMANAGER,),
        check=lambda: _check(address),
    )


def configuration(found: Targets, rules: str, alertmanager: str, every_s: int = _EVERY_S) -> str:
    """Prometheus' settings. An instance is named as its program is: an address says little, and may change."""
    return _SETTINGS.format(
        every_s=every_s, rules=rules, alertmanager=alertmanager, jobs="".join(_job(*each) for each in found.items())
    )


def targets(layout: Layout) -> Targets:
    """Whom to ask on this machine."""
    exporters = ("postgresql", "redis", "nginx", "kafka", "connect")
    return {
        "services": {each.name: layout.address(each.name) for each in services()},
        "workers": {name: layout.address(name) for name in (f"worker-{n + 1}" for n in range(layout.workers))},
        "keep": {"keep": layout.address("keep")},
        "observer": {"observer": layout.address("observer")},
        **{name: {name: layout.address(f"{name}-exporter")} for name in exporters},
    }


def compose_configuration() -> str:
    """The settings for Compose, where everything of ours answers on port 8080 under its own name."""
    found = {
        "services": [each.name for each in services()],
        "workers": [f"worker-{name.replace('.', '-')}" for name in feeds()],
        "keep": ["keep"],
        "observer": ["observer"],
    }
    asked = {job: {name: f"{name}:8080" for name in names} for job, names in found.items()}
    asked |= {name: {name: address} for name, address in _COMPOSE_EXPORTERS.items()}
    return _MADE + configuration(asked, "/etc/prometheus/rules/*.yml", "alertmanager:9093")


def write_compose() -> None:
    """Writes them where Compose has them from."""
    COMPOSE.write_text(compose_configuration())


def hurried(rules: str, after_s: int | None) -> str:
    """The rules, with all their durations cut to this one, and gigabytes to a hundredth: for tests, which can't wait for them."""
    if after_s is None:
        return rules
    return _OVER.sub(f"{5 * after_s}s", _FOR.sub(f"{after_s}s", rules)).replace("2e9", "2e7")


def _job(name: str, found: Mapping[str, str]) -> str:
    each = (_TARGET.format(address=address, instance=instance) for instance, address in found.items())
    return _JOB.format(job=name, targets="".join(each))


def _check(address: str) -> None:
    http_get(f"http://{address}/-/ready")
