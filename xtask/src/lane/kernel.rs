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

/// Versions, and the Debian release whose security updates have the newest kernel of each.
const RELEASES: [(&str, &str); 3] =
    [("5.10", "bullseye-security"), ("6.1", "bookworm-security"), ("6.12", "trixie-security")];

impl Kernel {
    /// The newest kernel of a version that Debian has.
    ///
    /// # Errors
    /// When there is none, or it cannot be downloaded or unpacked.
    pub(super) fn get(version: &str) -> Result<Self> {
        let source = Source::of(version)?;
        let package = source.newest(version)?;
        let root = directory()?.join(&package);
        if !root.join("done").exists() {
            source.fetch(&package, &root)?;
        }
        let release = package.trim_start_matches("linux-image-").to_owned();
        let image = root.join("boot").join(format!("vmlinuz-{release}"));
        ensure!(image.exists(), "{} has no {}", package, image.display());
        let modules = modules(&root, &release)?;
        Ok(Self { release, image, modules })
    }
}

/// apt with lists of its own: of a Debian release that this machine need not have among its sources.
struct Source {
    directory: PathBuf,
}

impl Source {
    /// The lists of the release that has a version, fetched once.
    fn of(version: &str) -> Result<Self> {
        let known = RELEASES.iter().find(|(known, _)| *known == version);
        let (_, release) =
            known.with_context(|| format!("no Debian release is known for Linux {version}"))?;
        let directory = directory()?.join(release);
        let source = Self { directory };
        if !source.directory.join("lists/done").exists() {
            for part in ["lists/partial", "archives/partial"] {
                fs::create_dir_all(source.directory.join(part))?;
            }
            let line = format!("deb {} {release} main\n", mirror()?);
            fs::write(source.directory.join("sources.list"), line)?;
            output(source.apt("apt-get").arg("update"))
                .with_context(|| format!("cannot fetch the lists of {release}"))?;
            fs::write(source.directory.join("lists/done"), "")?;
        }
        Ok(source)
    }

    fn apt(&self, program: &str) -> Command {
        let directory = self.directory.display();
        let mut command = Command::new(program);
        command.args(["--quiet", "-o", &format!("Dir::Etc::SourceList={directory}/sources.list")]);
        command.args(["-o", "Dir::Etc::SourceParts=/dev/null"]);
        command.args(["-o", &format!("Dir::State::Lists={directory}/lists")]);
        command.args(["-o", &format!("Dir::Cache={directory}")]);
        command
    }

    /// The package with the highest number after this version.
    fn newest(&self, version: &str) -> Result<String> {
        let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
        let (prefix, suffix) = (format!("linux-image-{version}."), format!("-cloud-{architecture}"));
        let names = output(self.apt("apt-cache").args(["pkgnames", &prefix]))?;
        let found = names.lines().filter(|name| name.ends_with(&suffix)).max_by_key(|name| numbers(name));
        found.map(str::to_owned).with_context(|| format!("Debian has no {prefix}*{suffix}"))
    }

    /// Downloads a package and unpacks it; it is not installed.
    fn fetch(&self, package: &str, root: &Path) -> Result<()> {
        println!("Fetching {package}; it is unpacked into {}, and not installed.", root.display());
        let part = root.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part)?;
        output(self.apt("apt-get").args(["download", package]).current_dir(&part))?;
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
        let release = package.trim_start_matches("linux-image-");
        output(Command::new("depmod").arg("-b").arg(&part).arg(release))?;
        fs::write(part.join("done"), "")?;
        let _ = fs::remove_dir_all(root);
        Ok(fs::rename(part, root)?)
    }
}

/// Where this machine gets Debian's security updates from: the same place has those of other releases.
fn mirror() -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]);
    let lines = output(&mut command)?;
    let found = lines.lines().filter_map(|line| line.split_once(' '));
    let found =
        found.into_iter().find(|(_, name)| name.ends_with("-security")).map(|(uri, _)| uri.to_owned());
    found.context("apt has no source of Debian's security updates, which the kernels are taken from")
}

/// All numbers in a name, which sort as versions do.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
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
