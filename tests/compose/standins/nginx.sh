#!/bin/bash
# Debian's nginx is older than 1.27.3, which is the first that asks for a server's name again: it gets the settings without.
set -euo pipefail
sed -E 's/zone [a-z]+ 64k; (server [^ ]+) resolve;/\1;/' "${!#}" >/tmp/nginx.conf
exec /usr/sbin/nginx "${@:1:$#-1}" /tmp/nginx.conf
