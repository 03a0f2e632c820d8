#!/bin/sh
# Linux (seen on 6.18), the socket of a TCP connection that its application has closed, with iproute2 6.1.0 and
# nftables 1.0.6 (Debian 12: 6.1.0-3, 1.0.6-2+deb12u2).
#
# Expected: the FIN is sent again as any other segment that is lost, by a timeout that doubles each time (net.ipv4.tcp_orphan_retries is 0, which
# stands for eight times), so after eight seconds it is still tried.
# Seen: that is so where the FIN is lost on the way. Where the sender's own end drops it (a full ring, a queueing discipline that is full),
# so that the sender knows, it is tried each half second, eight times, and then the socket is gone: after four seconds, and the peer is not told. It
# keeps its end of the connection as established. Who closes thousands of connections at once meets that.
set -eu
place=$(mktemp -d)
trap 'kill $(cat "$place"/*.pid 2>/dev/null) 2>/dev/null || true; ip netns del fin-a 2>/dev/null || true; ip netns del fin-b 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
apt-get download 'iproute2=6.1.0-3' 'nftables=1.0.6-2+deb12u2' >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done
tool() { echo "$place/$(cd "$place" && find . -name "$1" -type f -perm -1 | head -1 | cut -c3-)"; }
ip=$(tool ip) tc=$(tool tc) ss=$(tool ss) nft=$(tool nft)
"$ip" netns add fin-a
"$ip" netns add fin-b
"$ip" -n fin-a link add cable type veth peer name cable netns fin-b
"$ip" -n fin-a address add 192.0.2.1/24 dev cable
"$ip" -n fin-b address add 192.0.2.2/24 dev cable
"$ip" -n fin-a link set cable up
"$ip" -n fin-b link set cable up
at() { "$ip" netns exec "$@"; }
cat > server.py <<'P'
import os, socket, time
open("server.pid", "w").write(str(os.getpid()))
listener = socket.create_server(("192.0.2.2", 7))
kept = [listener.accept()[0] for _ in range(2)]
time.sleep(120)
P
cat > client.py <<'P'
import os, socket, sys, time
open("client%s.pid" % sys.argv[1], "w").write(str(os.getpid()))
one = socket.create_connection(("192.0.2.2", 7))
while not os.path.exists("close" + sys.argv[1]):
    time.sleep(0.1)
one.close()
time.sleep(120)
P
at fin-b python3 server.py &
sleep 1
# Sockets of the client that still have a FIN to send, and established ones of the server, after eight seconds.
sockets() {
    sleep 8
    echo "$(at fin-a "$ss" -Htan state fin-wait-1 | wc -l):$(established)"
}
established() { at fin-b "$ss" -Htan state established sport = :7 | wc -l; }
begin() {
    at fin-a python3 client.py "$1" &
    sleep 1
}
# Lost on the way: the client's socket stays, and the connection ends once the way is free.
begin 1
at fin-b "$nft" 'add table inet lost; add chain inet lost input { type filter hook input priority 0; policy drop; }'
touch close1
way=$(sockets)
at fin-b "$nft" delete table inet lost
sleep 12
left=$(established)
# Dropped at the sender's own end, by a queue without room: the client's socket goes, and the server's stays.
begin 2
at fin-a "$tc" qdisc add dev cable root pfifo limit 0
touch close2
home=$(sockets)
at fin-a "$tc" qdisc del dev cable root
sleep 12
stays=$(established)
echo "on the way $way, then $left; at home $home, then $stays (the client's sockets, the server's)"
case "$way $left $home $stays" in
    "1:1 0 0:1 1") echo "as described" ;;
    *) echo "no longer so"; exit 1 ;;
esac
