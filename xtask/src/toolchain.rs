//! What compiles and links for the kernel, and how it is found.
//!
//! Two compilers will do: one that comes with `core` for the BPF target (Debian's `rustc-web` with
//! `libstd-rust-web-dev-bpf`), or rustup's nightly with `rust-src`, which builds `core` itself. bpf-linker must be built for
//! the same LLVM. A pair of the first kind is accepted when it has compiled and linked a small program.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{clean, find, find_all, is_executable, output, workspace};

/// The target of all BPF programs: both byte orders of x86-64 and aarch64 machines are little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// The bpf-linker that the project is built and tested with.
pub(crate) const LINKER_VERSION: &str = "0.13.0";

/// Where `core` for the BPF target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// It is installed beside the compiler.
    Installed,
    /// It is built from rust-src.
    Source,
}

/// A compiler for the BPF target, perhaps without a linker.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// rustc itself, not rustup's proxy.
    pub(crate) rustc: PathBuf,
    /// Where `core` comes from.
    pub(crate) core: Core,
}

/// Compiler and linker that work together.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
}

impl Compiler {
    /// All that could serve, the best first.
    pub(crate) fn find_all() -> Vec<Self> {
        let mut installed: Vec<_> = find_all("rustc").into_iter().filter(|rustc| has_core(rustc)).collect();
        installed.dedup_by_key(|rustc| fs::canonicalize(rustc).ok());
        let mut found: Vec<_> =
            installed.into_iter().map(|rustc| Self { rustc, core: Core::Installed }).collect();
        found.extend(nightly_with_source().map(|rustc| Self { rustc, core: Core::Source }));
        found
    }

    /// The major version of its LLVM.
    pub(crate) fn llvm(&self) -> Result<u32> {
        let version = rustc_output(&self.rustc, &["-vV"])?;
        let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let major = llvm.and_then(|text| text.split('.').next()).and_then(|text| text.parse().ok());
        major.with_context(|| format!("{} does not tell its LLVM version", self.rustc.display()))
    }

    /// Compiles and links the smallest program. Without a ready `core` that would be a whole build: then the build itself tells.
    fn try_link(&self, linker: &Path) -> Result<()> {
        if self.core == Core::Source {
            return Ok(());
        }
        let directory = workspace().join("target/bpf/probe");
        fs::create_dir_all(&directory)?;
        let source = directory.join("probe.rs");
        fs::write(&source, PROBE)?;
        let mut command = rustc_command(&self.rustc);
        command.args(["--edition=2024", "--crate-type=bin", "-O", "-Cpanic=abort", "-Cdebuginfo=2"]);
        command.args(["--target", TARGET, "-Clto", "-Clink-arg=--btf", "-Ctarget-cpu=v3"]);
        command.arg(format!("-Clinker={}", linker.display()));
        command.arg("-o").arg(directory.join("probe.o")).arg(&source);
        output(&mut command).map(drop)
    }
}

impl Toolchain {
    /// The first pair that works, or why none does.
    pub(crate) fn find() -> Result<Self> {
        let mut why = String::from("no rustc with `core` for BPF");
        for compiler in Compiler::find_all() {
            let linkers = linkers();
            if linkers.is_empty() {
                why = format!("no bpf-linker {LINKER_VERSION}");
            }
            for linker in linkers {
                match compiler.try_link(&linker) {
                    Ok(()) => return Ok(Self { compiler, linker }),
                    Err(error) => why = format!("{error:#}"),
                }
            }
        }
        bail!(why)
    }

    /// One line for the operator.
    pub(crate) fn describe(&self) -> String {
        let version = rustc_output(&self.compiler.rustc, &["-V"]).unwrap_or_default();
        let rustc = self.compiler.rustc.display();
        format!(
            "BPF toolchain: {version} at {rustc}, bpf-linker {LINKER_VERSION} at {}",
            self.linker.display()
        )
    }
}

/// The directory for tools of this project alone.
pub(crate) fn tools() -> PathBuf {
    workspace().join("target/tools")
}

/// All bpf-linkers of the wanted version, the project's own first.
fn linkers() -> Vec<PathBuf> {
    let own = tools().join("bin/bpf-linker");
    let candidates = [own].into_iter().filter(|path| is_executable(path)).chain(find_all("bpf-linker"));
    let wanted = format!("bpf-linker {LINKER_VERSION}");
    let mut found: Vec<_> = candidates
        .filter(|path| output(Command::new(path).arg("--version")).is_ok_and(|version| version == wanted))
        .collect();
    found.dedup();
    found
}

/// Whether `core` for BPF lies beside this compiler.
fn has_core(rustc: &Path) -> bool {
    let Ok(directory) = rustc_output(rustc, &["--print", "target-libdir", "--target", TARGET]) else {
        return false;
    };
    let Ok(mut files) = fs::read_dir(directory) else {
        return false;
    };
    files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libcore-")))
}

/// rustup's nightly, when rust-src is part of it.
fn nightly_with_source() -> Option<PathBuf> {
    let rustup = find("rustup")?;
    let mut command = Command::new(rustup);
    command.args(["run", "nightly", "rustc", "--print", "sysroot"]).env("RUSTUP_AUTO_INSTALL", "0");
    let sysroot = PathBuf::from(output(clean(&mut command)).ok()?);
    let source = sysroot.join("lib/rustlib/src/rust/library/core");
    let rustc = sysroot.join("bin/rustc");
    (source.is_dir() && is_executable(&rustc)).then_some(rustc)
}

fn rustc_command(rustc: &Path) -> Command {
    let mut command = Command::new(rustc);
    clean(&mut command).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTUP_TOOLCHAIN");
    // A proxy of rustup must not fetch anything when it is only asked what it is.
    command.env("RUSTUP_AUTO_INSTALL", "0").current_dir(env::temp_dir());
    command
}

fn rustc_output(rustc: &Path, arguments: &[&str]) -> Result<String> {
    output(rustc_command(rustc).args(arguments))
}

/// The smallest program that needs `core`, BTF and a section of its own.
const PROBE: &str = r#"#![no_std]
#![no_main]
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn probe(_context: *mut u8) -> u32 {
    2
}
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
"#;
