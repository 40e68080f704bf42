#!/bin/bash
# The interface of the image `redis`.
set -euo pipefail
cd /data
chown redis .
exec setpriv --reuid redis --regid redis --init-groups "$@"
