//! The host: kernel, memory file system of BPF, privileges, settings.

use std::fs;
use std::path::Path;

use super::{Finding, Own};
use crate::config::Config;
use crate::exposure;
use crate::kernel::btf::{BtfError, NEEDS_SOCKETS, REMEDY, look};
use crate::kernel::cause::Surroundings;
use crate::net::{self, Connections, NetError};

/// From here on kernels have all that the program uses, by their documentation: frames of several buffers came last.
/// docs/kernels.md has the rest. Whether it runs is found by trying; this explains.
const KERNEL: (u32, u32) = (6, 0);
/// The oldest kernel that it was tried on.
const TRIED: &str = "6.1";
/// Where the BPF file system belongs.
const BPFFS: &str = "/sys/fs/bpf";
/// All checks of the host.
pub(super) fn examine(own: &Own<'_>, types: Option<&Path>) -> Vec<Finding> {
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    let mut findings = vec![
        object(own.object),
        kernel(&read("/proc/sys/kernel/osrelease").unwrap_or_default()),
        architecture(std::env::consts::ARCH, cfg!(target_endian = "little")),
        cpus(online_cpus()),
        btf(types, &look(types)),
        bpffs(&mounts),
        capabilities(&Surroundings::look()),
        jit(read("/proc/sys/net/core/bpf_jit_enable").as_deref()),
    ];
    findings.extend(read("/proc/sys/net/ipv4/tcp_syncookies").map(|text| syncookies(&text)));
    findings.extend(read("/proc/sys/net/ipv4/tcp_timestamps").map(|text| timestamps(&text)));
    findings.push(resets(Connections::open().err().as_ref()));
    findings.extend(read("/proc/sys/net/netfilter/nf_conntrack_tcp_loose").map(|text| loose(&text)));
    findings
}

/// Servers that stay open beside a gate.
pub(super) fn gaps(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "addresses";
    let names = config.attach.interfaces.iter().map(String::as_str);
    let addresses = net::addresses(names).unwrap_or_default();
    match exposure::gaps(config, &addresses) {
        Ok(gaps) => gaps.into_iter().map(|gap| Finding::warning(CHECK, gap)).collect(),
        Err(error) => vec![Finding::warning(CHECK, format!("cannot look which servers listen: {error}"))],
    }
}

/// The CPUs that run; 1 where that cannot be read.
pub(super) fn online_cpus() -> usize {
    read("/sys/devices/system/cpu/online").and_then(|text| count_cpus(&text)).unwrap_or(1)
}

/// A file below /proc or /sys, without the newline at its end.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

pub(super) fn object(object: Option<&[u8]>) -> Finding {
    match object {
        Some(object) if !object.is_empty() => {
            Finding::ok("program", format!("in the binary, {} bytes", object.len()))
        }
        _ => Finding::problem("program", "this binary was built without the eBPF program")
            .remedy("run `cargo xtask ebpf`, then build the binary again"),
    }
}

pub(super) fn kernel(release: &str) -> Finding {
    const CHECK: &str = "kernel";
    let (major, minor) = KERNEL;
    match version(release) {
        None => Finding::warning(CHECK, format!("cannot read its version from `{release}`"))
            .remedy(format!("make sure that it is Linux {TRIED} or later")),
        Some(version) if version < KERNEL => Finding::warning(
            CHECK,
            format!("Linux {release}; what the program uses came with {major}.{minor} at the latest, unless a vendor took it over"),
        )
        .remedy(format!("`trial` tells whether it can run here; Linux {TRIED} is the oldest that it was tried on")),
        Some(_) => Finding::ok(CHECK, format!("Linux {release}")),
    }
}

/// `6.1.0-18-amd64` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub(super) fn architecture(name: &str, little_endian: bool) -> Finding {
    const CHECK: &str = "architecture";
    if !little_endian {
        return Finding::problem(CHECK, format!("{name} is big-endian, and the program is not"))
            .remedy("run the gateway on a little-endian machine, as x86_64 or aarch64");
    }
    match name {
        "x86_64" | "aarch64" => Finding::ok(CHECK, name),
        _ => Finding::warning(CHECK, format!("{name}: the gateway is not tested there"))
            .remedy("run it in monitor mode first, and look at `gateway status`"),
    }
}

pub(super) fn cpus(count: usize) -> Finding {
    match count {
        1 => Finding::ok("cpus", "1 online: the flood and the server share it"),
        count => Finding::ok("cpus", format!("{count} online")),
    }
}

/// `0-3,6` is 5.
pub(super) fn count_cpus(text: &str) -> Option<usize> {
    text.split(',').try_fold(0usize, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?)?.checked_add(1)
    })
}

/// `named`: a file that describes the kernel's types in its place.
pub(super) fn btf(named: Option<&Path>, found: &Result<(), BtfError>) -> Finding {
    const CHECK: &str = "btf";
    match (found, named) {
        (Ok(()), None) => Finding::ok(CHECK, "the kernel describes its types"),
        (Ok(()), Some(file)) => {
            Finding::ok(CHECK, format!("{} describes the kernel's types", file.display()))
        }
        // The gateway does not start with it.
        (Err(error), Some(_)) => Finding::problem(CHECK, error.to_string()).remedy(
            "name another with --btf or attach.btf, or none: without one the gateway does not ask sockets",
        ),
        (Err(error), None) => {
            let off = NEEDS_SOCKETS.map(|(feature, instead)| format!("\n{feature}: {instead}")).concat();
            Finding::warning(CHECK, format!("{error}: this host's sockets are not asked{off}")).remedy(REMEDY)
        }
    }
}

pub(super) fn bpffs(mounts: &str) -> Finding {
    const CHECK: &str = "bpffs";
    let mut mounted = mounts.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        (*fields.get(1)? == BPFFS).then_some((*fields.get(2)?, *fields.get(3)?))
    });
    // What was mounted last lies on top.
    match mounted.next_back() {
        Some(("bpf", options)) if options.split(',').any(|option| option == "ro") => {
            Finding::warning(CHECK, format!("{BPFFS} is read-only: nothing can be pinned, and protection ends with the daemon")).remedy(format!(
                "`mount -o remount,rw {BPFFS}`; in a systemd unit leave out ProtectKernelTunables=, which makes it so"
            ))
        }
        Some(("bpf", _)) => Finding::ok(CHECK, format!("mounted at {BPFFS}")),
        _ => Finding::warning(CHECK, format!("not mounted at {BPFFS}: protection ends with the daemon"))
            .remedy(format!("`mount -t bpf bpf {BPFFS}`")),
    }
}

pub(super) fn capabilities(host: &Surroundings) -> Finding {
    const CHECK: &str = "capabilities";
    let Some(missing) = host.missing_capabilities() else {
        return Finding::warning(CHECK, "cannot read them from /proc/self/status")
            .remedy("make sure that /proc is mounted");
    };
    if missing.is_empty() {
        return Finding::ok(CHECK, "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are there");
    }
    let names = missing.join(", ");
    if host.is_root() {
        return Finding::warning(CHECK, format!("root lacks {names}")).remedy(format!(
            "grant them to the container or unit: AmbientCapabilities={}",
            missing.join(" ")
        ));
    }
    Finding::warning(CHECK, format!("you lack {names}; the service may have them"))
        .remedy("see what root has: `sudo gateway doctor`")
}

pub(super) fn jit(enabled: Option<&str>) -> Finding {
    const CHECK: &str = "jit";
    match enabled {
        Some("0") => {
            Finding::warning(CHECK, "off: the kernel refuses programs that call bpf_loop, as this one does")
                .remedy("`sysctl -w net.core.bpf_jit_enable=1`")
        }
        Some("2") => Finding::warning(CHECK, "on, and every program is written to the kernel's log")
            .remedy("`sysctl -w net.core.bpf_jit_enable=1`"),
        Some(_) => Finding::ok(CHECK, "on"),
        None => Finding::ok(CHECK, "cannot be read here, as in a container; usually on"),
    }
}

pub(super) fn syncookies(value: &str) -> Finding {
    const CHECK: &str = "syncookies";
    let made = match value {
        "2" => {
            return Finding::ok(
                CHECK,
                "net.ipv4.tcp_syncookies is 2: SYN cookies answer whenever the gateway asks",
            );
        }
        "1" => "makes cookies only once a listener's queue is full",
        _ => "neither makes nor accepts cookies",
    };
    Finding::warning(
        CHECK,
        format!(
            "net.ipv4.tcp_syncookies is {value}: the kernel {made}, and syn_cookies = \"auto\" counts as off"
        ),
    )
    .remedy("attach.set_sysctls = true sets it while a SYN flood lasts; or `sysctl -w net.ipv4.tcp_syncookies=2` and `gateway reload`")
}

/// Whether the kernel finds a client's options again in the timestamp of a cookie: it first takes a random offset off.
pub(super) fn timestamps(value: &str) -> Finding {
    const CHECK: &str = "timestamps";
    match value {
        "2" => Finding::ok(CHECK, "net.ipv4.tcp_timestamps is 2: SYN cookies keep window scale and SACK"),
        value => Finding::warning(
            CHECK,
            format!(
                "net.ipv4.tcp_timestamps is {value}: connections that a SYN cookie makes go without window scale and SACK"
            ),
        )
        .remedy(
            "attach.set_sysctls = true sets it while a SYN flood lasts; or `sysctl -w net.ipv4.tcp_timestamps=2`: peers then see the uptime",
        ),
    }
}

/// Whether connections that are refused can be ended.
pub(super) fn resets(error: Option<&NetError>) -> Finding {
    const CHECK: &str = "refuse";
    match error {
        None => Finding::ok(CHECK, "connections that are refused can be reset"),
        Some(error) => Finding::warning(
            CHECK,
            format!("refuse = \"reset\" counts as \"drop\": {error}; connections that are refused stay open until the server gives them up"),
        )
        .remedy("give the service CAP_NET_ADMIN, and boot a kernel with CONFIG_INET_DIAG_DESTROY=y, as distributions build it"),
    }
}

/// Whether connection tracking takes connections whose SYN it has not seen: those that SYN cookies make.
pub(super) fn loose(value: &str) -> Finding {
    const CHECK: &str = "conntrack";
    if value != "0" {
        return Finding::ok(CHECK, "connections that begin by a SYN cookie are taken up");
    }
    Finding::warning(
        CHECK,
        "net.netfilter.nf_conntrack_tcp_loose is 0: connections that SYN cookies make are invalid to it",
    )
    .remedy("`sysctl -w net.netfilter.nf_conntrack_tcp_loose=1`, or syn_cookies = \"off\" for all services")
}
