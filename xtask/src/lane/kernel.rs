//! Debian's kernels for virtual machines: found with apt, downloaded, and unpacked below `target/lane`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::directory;
use crate::command::output;

/// Modules that the tests need, with all that they depend on.
const MODULES: [&str; 8] =
    ["virtio_pci", "virtio_net", "veth", "tcp_diag", "nf_tables", "nft_ct", "8021q", "tun"];

/// An unpacked kernel.
pub(super) struct Kernel {
    /// Its release, as `uname -r` says it.
    pub(super) release: String,
    /// The compressed kernel.
    pub(super) image: PathBuf,
    /// Modules in the order in which they can be loaded.
    pub(super) modules: Vec<PathBuf>,
}

impl Kernel {
    /// The newest kernel of a version that apt knows.
    ///
    /// # Errors
    /// When apt knows none, or it cannot be downloaded or unpacked.
    pub(super) fn get(version: &str) -> Result<Self> {
        let package = newest(version)?;
        let root = directory()?.join(&package);
        if !root.join("done").exists() {
            fetch(&package, &root)?;
        }
        let release = package.trim_start_matches("linux-image-").to_owned();
        let image = root.join("boot").join(format!("vmlinuz-{release}"));
        ensure!(image.exists(), "{} has no {}", package, image.display());
        let modules = modules(&root, &release)?;
        Ok(Self { release, image, modules })
    }
}

/// The package with the highest number after this version.
fn newest(version: &str) -> Result<String> {
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let prefix = format!("linux-image-{version}.");
    let suffix = format!("-cloud-{architecture}");
    let names = output(Command::new("apt-cache").args(["pkgnames", &prefix]))?;
    let found = names.lines().filter(|name| name.ends_with(&suffix)).max_by_key(|name| numbers(name));
    let none = || {
        format!(
            "apt knows no {prefix}*{suffix}; it comes with Debian's sources: 5.10 with Debian 11's, 6.1 and 6.12 with Debian 12's"
        )
    };
    found.map(str::to_owned).with_context(none)
}

/// All numbers in a name, which sort as versions do.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Downloads a package and unpacks it; it is not installed.
fn fetch(package: &str, root: &Path) -> Result<()> {
    println!("Fetching {package}; it is unpacked into {}, and not installed.", root.display());
    let part = root.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    output(Command::new("apt-get").args(["--quiet", "download", package]).current_dir(&part))?;
    let file = fs::read_dir(&part)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get has downloaded no package")?;
    output(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&part))?;
    fs::remove_file(file)?;
    // Debian 13 has modules below /usr alone.
    if !part.join("lib/modules").exists() {
        fs::rename(part.join("usr/lib"), part.join("lib"))?;
    }
    output(Command::new("depmod").arg("-b").arg(&part).arg(package.trim_start_matches("linux-image-")))?;
    fs::write(part.join("done"), "")?;
    let _ = fs::remove_dir_all(root);
    Ok(fs::rename(part, root)?)
}

/// The files of all modules, each after those that it depends on. What is built into the kernel, or not there, is left out.
fn modules(root: &Path, release: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for module in MODULES {
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
