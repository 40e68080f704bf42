#!/bin/bash
# `base.sh FOLDER`: Debian, with the packages that the stand-ins are made of, as a folder. Needs debootstrap, and root.
set -euo pipefail
folder=$1
packages=(
    postgresql redis-server nginx-light python3 python3-venv maven openjdk-17-jre-headless wget
    prometheus prometheus-alertmanager prometheus-postgres-exporter prometheus-redis-exporter prometheus-nginx-exporter
)
rm -rf "$folder"
debootstrap --variant=minbase --include=ca-certificates bookworm "$folder"
# Nothing is started that is installed, and no cluster of PostgreSQL's is made.
printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
chmod 755 "$folder/usr/sbin/policy-rc.d"
mkdir "$folder/etc/postgresql-common"
echo 'create_main_cluster = false' >"$folder/etc/postgresql-common/createcluster.conf"
cp /etc/resolv.conf "$folder/etc/"
# Java's package needs /proc while it is installed; here it is gone again when this ends.
unshare --mount --pid --fork bash -euo pipefail -c '
    mount -t proc proc "$1/proc"
    export DEBIAN_FRONTEND=noninteractive
    chroot "$1" apt-get update -qq
    chroot "$1" apt-get install -y -qq --no-install-recommends "${@:2}"
    chroot "$1" apt-get clean
' bash "$folder" "${packages[@]}"
# Whom this machine trusts, an image that is built on it has to trust.
cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
trust=/etc/ssl/certs/java/cacerts
[[ ! -e $trust ]] || cp "$trust" "$folder$trust"
