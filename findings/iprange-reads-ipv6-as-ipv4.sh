#!/bin/sh
# iprange 1.0.4 (Debian 12: 1.0.4+ds-2), which firewalls merge published address lists with.
#
# Expected: iprange knows IPv4 alone, so an IPv6 prefix in a list, as lists of both families have them, is refused or skipped.
# Seen: the digits before the first colon are taken for an IPv4 address in one number. 2001:db8::/32 adds 0.0.7.209 to the set; a
# message on standard error says that the rest of the line is ignored, and the exit status is 0. A set made so has addresses that
# nobody named, and lacks the prefix that somebody did.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get download 'iprange=1.0.4+ds-2' >/dev/null 2>&1
dpkg -x iprange_*.deb .
printf '192.0.2.0/24\n2001:db8::/32\n' >list
status=0
seen=$(usr/bin/iprange list 2>said) || status=$?
wanted='0.0.7.209
192.0.2.0/24'
if [ "$seen" = "$wanted" ] && [ "$status" = 0 ] && grep -q 'Ignoring text' said; then
    echo 'as described: an IPv6 prefix became 0.0.7.209'
else
    echo "no longer so: status $status, set: $seen, message: $(cat said)"
    exit 1
fi
