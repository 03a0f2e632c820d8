#!/bin/busybox sh
# The first process of an emulated machine: mounts what programs expect, loads modules, runs the plan, powers off. What
# begins with `@@` is for the machine's starter.
/bin/busybox mkdir -p /busybox /proc /sys /dev /run /tmp /root /sbin /usr/sbin /usr/bin /var/log /var/lib
/bin/busybox --install -s /busybox
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:/busybox HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mount -t securityfs securityfs /sys/kernel/security
chmod 755 /
chmod 1777 /tmp
ulimit -n 65536
for module in /lane/modules/*.ko; do
    insmod "$module" || echo "@@ module $module"
done
ip link set lo up
# The firmware has left the cursor in a line.
echo
echo "@@ up $(uname -r) $(cut -d' ' -f1 /proc/uptime)"

# step NAME SECONDS COMMAND...: runs a step of the plan.
step() {
    name=$1 limit=$2
    shift 2
    echo "@@ begin $name"
    timeout "$limit" "$@" < /dev/null 2>&1
    echo "@@ end $? $name"
}

. /lane/plan.sh
echo "@@ done"
poweroff -f
