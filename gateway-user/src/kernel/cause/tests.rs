//! Causes by what was looked at: a cause is named where it was seen, and nowhere else.

use std::{fs, path::Path};

use nix::errno::Errno;

use super::{Surroundings, memory::Memory};

/// Root with everything.
fn free() -> Surroundings {
    Surroundings {
        status: "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n".into(),
        uid_map: "         0          0 4294967295\n".into(),
        lockdown: "[none] integrity confidentiality\n".into(),
        modules: "capability,yama\n".into(),
        jit: "1\n".into(),
        release: "6.12.1-amd64\n".into(),
        locked: Some(8 << 20),
        memory: None,
        helpers: Vec::new(),
    }
}

fn with(change: impl FnOnce(&mut Surroundings)) -> Surroundings {
    let mut host = free();
    change(&mut host);
    host
}

#[test]
fn nothing_seen_is_nothing_told() {
    for errno in [Errno::EPERM, Errno::EACCES, Errno::ENOMEM, Errno::EINVAL, Errno::EBUSY, Errno::E2BIG] {
        assert_eq!(free().cause(errno, ""), None, "{errno}");
        assert_eq!(Surroundings::default().cause(errno, ""), None, "{errno}");
    }
}

#[test]
fn what_forbids_is_found_in_the_order_of_the_kernel() {
    let no_bpf = |host: &mut Surroundings| host.status = host.status.replace("1ffffffffff", "17fffdfffff");
    let cases: [(Surroundings, &str); 6] = [
        (with(no_bpf), "this process lacks CAP_BPF: run it as root, or grant"),
        (with(|host| host.uid_map = "0 100000 65536\n".into()), "in a user namespace"),
        (with(|host| host.release = "5.10.0-30-amd64\n".into()), "may have 8192 KiB: `ulimit -l unlimited`"),
        (with(|host| host.status = host.status.replace("Seccomp:\t0", "Seccomp:\t2")), "seccomp filter"),
        (with(|host| host.lockdown = "none [integrity] confidentiality\n".into()), "locked down (integrity)"),
        (with(|host| host.modules = "capability,selinux,bpf\n".into()), "are active (selinux, bpf)"),
    ];
    for (host, expected) in cases {
        for errno in [Errno::EPERM, Errno::EACCES] {
            let cause = host.cause(errno, "").unwrap_or_default();
            assert!(cause.contains(expected), "{errno}: {cause}");
        }
        assert_eq!(host.cause(Errno::EBUSY, ""), None);
    }
    // What the verifier says where CAP_PERFMON is lacking.
    let cause = with(no_bpf).cause(Errno::EACCES, "R1 pointer -= pointer prohibited").unwrap();
    assert!(cause.starts_with("this process lacks CAP_BPF: "), "{cause}");
    let all = with(|host| {
        no_bpf(host);
        host.modules = "selinux".into();
    });
    assert!(all.cause(Errno::EPERM, "").unwrap().contains("CAP_BPF"));
}

#[test]
fn capabilities_are_counted_as_the_kernel_does() {
    let missing = |effective: u64| {
        with(|host| host.status = format!("CapEff:\t{effective:016x}\n")).missing_capabilities().unwrap()
    };
    let (admin, sys_admin, perfmon, bpf) = (1 << 12, 1 << 21, 1 << 38, 1 << 39);
    assert_eq!(missing(admin | perfmon | bpf), [""; 0]);
    assert_eq!(missing(admin | sys_admin), [""; 0], "that stands for the other two");
    assert_eq!(missing(sys_admin), ["CAP_NET_ADMIN"]);
    assert_eq!(missing(admin), ["CAP_PERFMON", "CAP_BPF"]);
    assert_eq!(Surroundings::default().missing_capabilities(), None);
}

#[test]
fn a_verifier_without_compiler_is_told_by_its_setting() {
    const SAID: &str = "callbacks are not allowed in non-JITed programs";
    let off = with(|host| host.jit = "0\n".into());
    let cause = off.cause(Errno::EINVAL, SAID).unwrap();
    assert!(
        cause.ends_with("net.core.bpf_jit_enable is 0: `sysctl -w net.core.bpf_jit_enable=1`"),
        "{cause}"
    );
    assert!(!free().cause(Errno::EINVAL, SAID).unwrap().contains("sysctl"));
    let cause = off.cause(Errno::EACCES, "invalid access to packet").unwrap();
    assert!(!cause.contains("jit"), "off, but not what it fails for: {cause}");
    let cause = free().cause(Errno::E2BIG, "BPF program is too large. Processed 1000001 insn").unwrap();
    assert!(cause.contains("a million"), "{cause}");
}

#[test]
fn the_tightest_cgroup_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let write = |path: &str, name: &str, text: &str| {
        fs::create_dir_all(root.join(path)).unwrap();
        fs::write(root.join(path).join(name), text).unwrap();
    };
    for (path, limit, used) in
        [("a/b", "max", "5"), ("a", "67108864", "60000000"), ("a/b/c", "33554432", "0")]
    {
        write(path, "memory.max", limit);
        write(path, "memory.current", used);
    }
    let mounts = format!("tmpfs / tmpfs rw 0 0\ncgroup2 {} cgroup2 rw,nosuid 0 0\n", root.display());
    let found = Memory::tightest("0::/a/b/c\n", &mounts).unwrap();
    assert_eq!((found.cgroup.as_path(), found.limit), (root.join("a").as_path(), 64 << 20));
    assert!(found.told().contains("allows 64 MiB of memory, of which 57 MiB are used"), "{}", found.told());

    write("old", "memory.limit_in_bytes", "9223372036854771712");
    write("old", "memory.usage_in_bytes", "0");
    let mounts = format!("cgroup {} cgroup rw,memory 0 0\n", root.display());
    assert_eq!(Memory::tightest("4:cpu:/x\n3:memory:/old\n", &mounts), None, "no limit at all");
    assert_eq!(Memory::tightest("0::/a\n", "cgroup2 /nonexistent cgroup2 rw 0 0\n"), None);
    let host = with(|host| {
        host.memory = Some(Memory { cgroup: Path::new("/g").into(), limit: 1 << 20, used: 0 });
    });
    assert!(host.cause(Errno::ENOMEM, "").unwrap().starts_with("the cgroup /g allows 1 MiB"));
    assert_eq!(host.cause(Errno::EPERM, ""), None);
}

#[test]
fn helpers_that_are_not_there_are_named() {
    let older =
        with(|host| host.helpers = vec!["bpf_loop (Linux 5.17)".into(), "another (Linux 5.18)".into()]);
    let cause = older.cause(Errno::EINVAL, "invalid func unknown#181").unwrap();
    assert!(
        cause.starts_with("this kernel has no helper bpf_loop (Linux 5.17), another (Linux 5.18): boot "),
        "{cause}"
    );
    assert!(!free().cause(Errno::EINVAL, "invalid func unknown#181").unwrap().contains("helper"));
}
