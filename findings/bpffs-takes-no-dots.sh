#!/bin/sh
# bpftool 7.1.0 (Debian 12: 7.1.0+6.1.192-3) and bpffs (seen on Linux 6.18), where programs, maps and links are pinned.
#
# Expected: a pin can be called what its interface is called; VLAN interfaces are called eth0.100.
# Seen: bpffs keeps names with a dot for itself, and says so to nobody. `bpftool map create` with such a pin ends with "Operation not
# permitted", as for somebody without rights, though root asks; to the same name without its dot it works.
set -eu
place=$(mktemp -d)
trap 'umount "$place/bpf" 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
apt-get download 'bpftool=7.1.0+6.1.192-3' >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done
mkdir bpf
mount -t bpf none bpf
tool=$(find . -name bpftool -type f -perm -1 | head -1)
pin() {
    "$tool" map create "bpf/$1" type array key 4 value 4 entries 1 name pinned 2>&1
}
status=0
said=$(pin eth0.100) || status=$?
plain=0
pin eth0-100 >/dev/null || plain=$?
case "$status:$plain:$said" in
    0:*) echo "no longer so: a name with a dot is taken"; exit 1 ;;
    *:0:*'Operation not permitted'*) echo "as described: $said" ;;
    *) echo "no longer so: status $status and $plain: $said"; exit 1 ;;
esac
