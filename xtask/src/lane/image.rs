//! What the emulated machine starts from: an archive that the kernel unpacks into memory.
//!
//! Programs lie where they lie here, with the libraries that they need, so tests find them by the paths that they were built with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::directory;
use super::kernel::Kernel;
use crate::command::{cargo, find, output, workspace};

/// Programs that the tests start.
const PROGRAMS: [&str; 15] = [
    "ip", "wg", "pppd", "ss", "ethtool", "nginx", "curl", "openssl", "nft", "chrt", "setpriv", "unshare",
    "nsenter", "mount", "umount",
];
/// Tests that run in the machine; `command` and `doctor` have the daemon built.
const TESTS: [&str; 8] =
    ["kernel", "parity", "handshake", "adversary", "devices", "clock", "command", "doctor"];
/// Programs of the project that run there.
const BINARIES: [&str; 3] = ["gateway", "soak", "parity"];
/// Files that those read.
const FILES: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf"];
/// What the kernel starts first.
const INIT: &str = include_str!("init.sh");

/// The archive that is the same for all kernels.
pub(super) struct Image {
    archive: PathBuf,
    executables: Vec<(String, PathBuf)>,
}

impl Image {
    /// Builds tests and daemon, and packs them.
    ///
    /// # Errors
    /// When something does not build, or a program is missing.
    pub(super) fn build() -> Result<Self> {
        let executables = executables()?;
        let root = directory()?.join("root");
        let _ = fs::remove_dir_all(&root);
        let mut tree = Tree { root, libraries: BTreeSet::new() };
        for (_, path) in &executables {
            tree.add_stripped(path)?;
        }
        for program in PROGRAMS {
            let path = find(program).with_context(|| format!("there is no `{program}`"))?;
            tree.add_program(&path)?;
        }
        for file in FILES.map(Path::new) {
            tree.add(file)?;
        }
        tree.add(&workspace().join("target/bpf/lab.bpf.o"))?;
        // By a path that goes through the tests' own directory.
        fs::create_dir_all(tree.place(&workspace().join("tests"))?)?;
        fs::create_dir_all(tree.root.join("bin"))?;
        // busybox's shell would start its own programs in place of those above.
        for program in ["busybox", "sh"] {
            let path = find(program).with_context(|| format!("there is no `{program}`"))?;
            fs::copy(path, tree.root.join("bin").join(program))?;
        }
        tree.write("init", INIT, 0o755)?;
        let archive = directory()?.join("root.cpio");
        pack(&tree.root, &archive)?;
        Ok(Self { archive, executables })
    }

    /// Where the executable of this name lies, here and in the machine: a test's, or `bin/NAME`.
    pub(super) fn executable(&self, name: &str) -> Result<&Path> {
        let found = self.executables.iter().find(|(known, _)| known == name);
        found.map(|(_, path)| path.as_path()).with_context(|| format!("no executable is called {name}"))
    }

    /// The archive for a kernel: its modules and the plan behind what all have. The kernel unpacks one after the other
    /// (Documentation/driver-api/early-userspace/buffer-format.rst).
    pub(super) fn with(&self, kernel: &Kernel, name: &str, plan: &str) -> Result<PathBuf> {
        let root = directory()?.join(format!("more-{name}"));
        let _ = fs::remove_dir_all(&root);
        let tree = Tree { root, libraries: BTreeSet::new() };
        for (number, module) in kernel.modules.iter().enumerate() {
            let to = tree.root.join(format!("lane/modules/{number:03}.ko"));
            fs::create_dir_all(to.parent().context("a path without a directory")?)?;
            fs::copy(module, &to)?;
            if module.extension().is_some_and(|extension| extension == "xz") {
                let compressed = to.with_extension("ko.xz");
                fs::rename(&to, &compressed)?;
                output(Command::new("xz").arg("--decompress").arg(&compressed))?;
            }
        }
        tree.write("lane/plan.sh", plan, 0o755)?;
        let more = directory()?.join(format!("more-{name}.cpio"));
        pack(&tree.root, &more)?;
        let all = directory()?.join(format!("initrd-{name}.cpio"));
        let mut bytes = fs::read(&self.archive)?;
        bytes.extend(fs::read(&more)?);
        fs::write(&all, bytes)?;
        Ok(all)
    }
}

/// Builds tests, long runs and daemon as `cargo xtask test` does; each executable by its name.
fn executables() -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--workspace", "--exclude", "gateway-ebpf"]);
    for test in TESTS {
        command.args(["--test", test]);
    }
    command.args(["--message-format", "json-render-diagnostics"]);
    let out = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(out.status.success(), "the tests do not build");
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let message: Value = serde_json::from_str(line)?;
        let name = message["target"]["name"].as_str().unwrap_or_default();
        let Some(path) = message["executable"].as_str() else { continue };
        match message["target"]["kind"][0].as_str() {
            Some("test") => found.push((name.to_owned(), path.into())),
            Some("bin") if BINARIES.contains(&name) => found.push((format!("bin/{name}"), path.into())),
            _ => {}
        }
    }
    Ok(found)
}

/// A directory that becomes an archive.
struct Tree {
    root: PathBuf,
    libraries: BTreeSet<PathBuf>,
}

impl Tree {
    /// Where a file of this machine goes.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let place = self.root.join(path.strip_prefix("/").context("a path that does not begin at the root")?);
        fs::create_dir_all(place.parent().context("a path without a directory")?)?;
        Ok(place)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        fs::copy(path, &place).with_context(|| format!("cannot copy {}", path.display()))?;
        Ok(())
    }

    /// Adds a program with its libraries.
    fn add_program(&mut self, path: &Path) -> Result<()> {
        self.add(path)?;
        self.add_libraries(path)
    }

    /// The same without debug information, which is most of what a test is.
    fn add_stripped(&mut self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        output(Command::new("strip").args(["--strip-debug", "-o"]).arg(&place).arg(path))?;
        self.add_libraries(path)
    }

    fn add_libraries(&mut self, path: &Path) -> Result<()> {
        // `	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, and the loader by its path alone.
        let lines = output(Command::new("ldd").arg(path))?;
        for library in lines.lines().flat_map(str::split_whitespace).filter(|word| word.starts_with('/')) {
            if self.libraries.insert(library.into()) {
                self.add(Path::new(library))?;
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().context("a path without a directory")?)?;
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    }
}

/// Packs a directory as the kernel unpacks it.
fn pack(root: &Path, archive: &Path) -> Result<()> {
    let script = "find . -print0 | cpio --quiet --null --create --format=newc --owner=0:0 > \"$0\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(archive).current_dir(root);
    if !command.status().context("cannot start sh")?.success() {
        bail!("cannot pack {}", root.display());
    }
    Ok(())
}
