#!/bin/sh
# Runs before the sentinel-server package (deb or rpm) is installed or upgraded.
# The unit runs as the system user sentinel-server: make it where it is missing,
# and leave it alone where it is not. It stays when the package is removed, since
# its data does.
set -eu

user=sentinel-server

if getent passwd "$user" >/dev/null; then
	exit 0
fi
useradd --system --user-group --home-dir "/var/lib/$user" --no-create-home \
	--shell /usr/sbin/nologin --comment "Sentinel Secure X server" "$user"
