//! `cargo xtask setup --lab`: what tests, demo and benchmarks need beside the toolchain.

use std::fs;

use anyhow::{Context as _, Result};

use crate::command::{as_root, find, run, workspace};
use crate::setup::apt_install;

/// Programs of the lab, and the Debian packages that they come in.
const PROGRAMS: [(&str, &str); 12] = [
    ("nginx", "nginx"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("xdp-filter", "xdp-tools"),
    ("promtool", "prometheus"),
    ("python3", "python3"),
    ("gnutls-cli", "gnutls-bin"),
    ("bpftool", "bpftool"),
];

/// More clients of TLS stacks, for `soak` alone: they are large.
const CLIENTS: [(&str, &str); 5] = [
    ("tstclnt", "libnss3-tools"),
    ("node", "nodejs"),
    ("keytool", "default-jre-headless"),
    ("chromium", "chromium"),
    ("debootstrap", "debootstrap"),
];

/// The Debian release whose curl and nginx speak HTTP/3, what is taken of it, and where it is laid: beside the machine's own.
const NEWER: (&str, &str, &str) = ("trixie", "curl,nginx,ca-certificates", "target/newer");

/// Installs the programs that are missing, and mounts bpffs where it is not mounted.
pub(crate) fn setup() -> Result<()> {
    install("The lab", &PROGRAMS)?;
    mount_bpffs()
}

/// Installs what long runs need beside that.
pub(crate) fn setup_soak() -> Result<()> {
    install("The long runs", &CLIENTS)?;
    let (release, packages, directory) = NEWER;
    let directory = workspace().join(directory);
    if directory.join("usr/sbin/nginx").exists() {
        return Ok(());
    }
    println!("Laying programs of Debian {release} into {}: {packages}.", directory.display());
    // What an interrupted run has left would be taken for a tree that only lacks packages.
    let part = directory.with_extension("part");
    run(as_root("rm", &[])?.arg("-rf").arg(&part))?;
    let include = format!("--include={packages}");
    let mut debootstrap = as_root("debootstrap", &[])?;
    run(debootstrap.args(["--variant=minbase", &include, release]).arg(&part)).with_context(|| {
        format!("could not lay Debian {release}; its log is {}/debootstrap", part.display())
    })?;
    run(as_root("mv", &[])?.arg(&part).arg(&directory))
}

/// Installs the packages (one or more, separated by spaces) of those programs that are missing, and says for what.
pub(crate) fn install(what: &str, programs: &[(&str, &str)]) -> Result<()> {
    let missing = programs.iter().filter(|(program, _)| find(program).is_none());
    let packages: Vec<String> =
        missing.flat_map(|(_, packages)| packages.split(' ')).map(str::to_owned).collect();
    if packages.is_empty() {
        println!("{what}: all programs are here.");
        return Ok(());
    }
    let list = packages.join(" ");
    println!("{what} needs Debian packages: {list}. Installing them; their services are not started.");
    apt_install(&packages).with_context(|| {
        format!(
            "could not install them. Do it by hand, then start again:\n  \
             apt-get update && apt-get install --no-install-recommends {list}    (as root)\n"
        )
    })
}

/// The file system where pinned maps and links live.
fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let is_bpffs = |line: &str| line.split(' ').nth(1) == Some("/sys/fs/bpf") && line.contains(" bpf ");
    if mounts.lines().any(is_bpffs) {
        return Ok(());
    }
    println!("Mounting bpffs on /sys/fs/bpf.");
    let remedy =
        "could not mount it. Do it by hand, then start again:\n  mount -t bpf bpf /sys/fs/bpf    (as root)\n";
    run(as_root("mount", &[]).context(remedy)?.args(["-t", "bpf", "bpf", "/sys/fs/bpf"])).context(remedy)
}
