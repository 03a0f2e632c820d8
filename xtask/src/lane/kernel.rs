//! Debian's kernels, those for virtual machines and the full ones: found with apt, downloaded, and unpacked below `target/lane`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::directory;
use crate::command::output;
use crate::debian::Source;

/// Modules that the tests need, with all that they depend on.
const MODULES: [&str; 8] =
    ["virtio_pci", "virtio_net", "veth", "tcp_diag", "nf_tables", "nft_ct", "8021q", "tun"];
/// Those of all kinds of devices beside them.
const OF_DEVICES: [&str; 13] = [
    "bridge",
    "macvlan",
    "ipvlan",
    "vxlan",
    "bonding",
    "wireguard",
    "ppp_generic",
    "ppp_async",
    "ipip",
    "ip_gre",
    "dummy",
    "vrf",
    "udp_diag",
];

/// Which of Debian's kernels of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// For virtual machines: small.
    Cloud,
    /// For any machine, with modules of all kinds of devices.
    Full,
}

/// An unpacked kernel.
pub(super) struct Kernel {
    /// Its release, as `uname -r` says it.
    pub(super) release: String,
    /// The compressed kernel.
    pub(super) image: PathBuf,
    /// Modules in the order in which they can be loaded.
    pub(super) modules: Vec<PathBuf>,
}

/// Versions, and the Debian release whose security updates have the newest kernel of each.
const RELEASES: [(&str, &str); 3] =
    [("5.10", "bullseye-security"), ("6.1", "bookworm-security"), ("6.12", "trixie-security")];

impl Kernel {
    /// The newest kernel of a version that Debian has.
    ///
    /// # Errors
    /// When there is none, or it cannot be downloaded or unpacked.
    pub(super) fn get(version: &str, flavor: Flavor) -> Result<Self> {
        let known = RELEASES.iter().find(|(known, _)| *known == version);
        let (_, release) =
            known.with_context(|| format!("no Debian release is known for Linux {version}"))?;
        let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
        let source = Source::of(release, &architecture)?;
        let other = |name: &str| ["-cloud-", "-rt-"].into_iter().find(|word| name.contains(word));
        let wanted = if flavor == Flavor::Cloud { Some("-cloud-") } else { None };
        let package = source.newest(&format!("linux-image-{version}."), |name| {
            name.ends_with(&format!("-{architecture}")) && other(name) == wanted
        })?;
        let root = directory()?.join(&package);
        let release = package.trim_start_matches("linux-image-").to_owned();
        source.unpack(&[&package], &root, |part| list_modules(part, &release))?;
        let image = root.join("boot").join(format!("vmlinuz-{release}"));
        ensure!(image.exists(), "{} has no {}", package, image.display());
        let modules = modules(&root, &release, flavor)?;
        Ok(Self { release, image, modules })
    }
}

/// Has the modules listed with what they depend on.
fn list_modules(root: &Path, release: &str) -> Result<()> {
    // Debian 13 has modules below /usr alone.
    if !root.join("lib/modules").exists() {
        fs::rename(root.join("usr/lib"), root.join("lib"))?;
    }
    output(Command::new("depmod").arg("-b").arg(root).arg(release)).map(drop)
}

/// The files of all modules, each after those that it depends on. What is built into the kernel, or not there, is left out.
fn modules(root: &Path, release: &str, flavor: Flavor) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let more = if flavor == Flavor::Full { &OF_DEVICES[..] } else { &[] };
    for module in MODULES.iter().chain(more) {
        let mut command = Command::new("modprobe");
        command.arg("-d").arg(root).args(["-S", release, "--show-depends", module]);
        let Ok(lines) = output(&mut command) else { continue };
        for file in lines.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let file = PathBuf::from(file.split_whitespace().next().unwrap_or_default());
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    ensure!(!files.is_empty(), "modprobe finds no modules below {}", root.display());
    Ok(files)
}
