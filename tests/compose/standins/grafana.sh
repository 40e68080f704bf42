#!/bin/bash
# There is no Grafana here: whether it would find its provisioning and its password, and an answer to its health check.
set -euo pipefail
for wanted in /etc/grafana/provisioning/datasources/*.y*ml /etc/grafana/provisioning/dashboards/*.y*ml /etc/dashboards/json/*.json \
    "$GF_SECURITY_ADMIN_PASSWORD__FILE"; do
    [[ -r $wanted ]] || { echo "grafana would not find $wanted" >&2; exit 1; }
done
mkdir -p /tmp/web/api && echo ok >/tmp/web/api/health
exec python3 -m http.server --directory /tmp/web 3000
