//! `cargo xtask ebpf`: compiles gateway-ebpf for the kernel.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

use crate::command::{cargo, cargo_home, clean, run, run_and_read, workspace};
use crate::setup::builds_core;
use crate::toolchain::{TARGET, Toolchain};

/// The programs of gateway-ebpf: the gateway's own, and the lab's.
const PROGRAMS: [&str; 2] = ["gateway", "lab"];
/// Where builds for the kernel go, apart from those for the host, which other flags would make anew.
const DIRECTORY: &str = "target/bpf";

/// Builds the objects, and puts them without their DWARF at `target/bpf/NAME.bpf.o` when they have changed: gateway-user
/// embeds one, and a new time of modification alone would build it again.
pub(crate) fn build(toolchain: &Toolchain) -> Result<()> {
    run(&mut build_command(toolchain))?;
    place()
}

/// The same, with any warning an error. By what the compiler says: with a flag for it all would be compiled once more.
pub(crate) fn build_without_warnings(toolchain: &Toolchain) -> Result<()> {
    let said = run_and_read(&mut build_command(toolchain))?;
    ensure!(!said.lines().any(|line| line.starts_with("warning")), "the compiler warns of gateway-ebpf");
    place()
}

/// Puts the objects where they are found.
fn place() -> Result<()> {
    for program in PROGRAMS {
        let built = workspace().join(DIRECTORY).join(TARGET).join("bpf").join(program);
        let object = fs::read(&built).with_context(|| format!("no object at {}", built.display()))?;
        let stripped = strip(&object).with_context(|| format!("cannot strip {}", built.display()))?;
        write_if_changed(&stripped, &object_path(program))?;
    }
    Ok(())
}

/// Where the object of a program is found.
fn object_path(program: &str) -> PathBuf {
    workspace().join(DIRECTORY).join(format!("{program}.bpf.o"))
}

/// What builds them, with the compiler and flags for the kernel. BTF is made from debug information; v3 instructions are in Linux 5.1.
fn build_command(toolchain: &Toolchain) -> Command {
    let flags = [
        format!("--cfg=bpf_target_arch=\"{ARCH}\""),
        "-Cdebuginfo=2".to_owned(),
        format!("-Clinker={}", toolchain.linker.display()),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        // The objects say in which line of which file an instruction is: by no path of this machine.
        format!("--remap-path-prefix={}=gateway", workspace().display()),
        format!("--remap-path-prefix={}=cargo", cargo_home().display()),
    ];
    let mut command = cargo();
    clean(&mut command)
        .env("RUSTC", &toolchain.compiler.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        // Separated by a character that no path holds.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .args(["build", "--quiet", "--package", "gateway-ebpf", "--profile", "bpf"])
        .args(["--target", TARGET, "--target-dir", DIRECTORY]);
    if builds_core(toolchain) {
        command.args(["-Z", "build-std=core"]);
    }
    command
}

/// Takes away what no loader reads: DWARF, of which BTF with its line numbers was made, and relocations of BTF, which has
/// its offsets already. A loader would go through all of it at every start.
fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        let of = name.strip_prefix(".rel").unwrap_or(&name);
        section.delete = of.starts_with(".debug_") || (of != name && of.starts_with(".BTF"));
        if name == ".BTF.ext"
            && let SectionData::Data(data) = &mut section.data
        {
            without_lines(data.to_mut())?;
        }
    }
    builder.delete_orphans();
    // LLVM keeps names of sections with those of symbols; the builder, apart.
    let names = builder.sections.add();
    (names.name, names.sh_type, names.sh_addralign) = (".shstrtab".into(), SHT_STRTAB, 1);
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// Takes the lines of the source out of `.BTF.ext` (Documentation/bpf/btf.rst, section 4.2), which are behind all else there. A loader
/// copies them for every function, and the kernel moves them for every instruction that it puts in: a twentieth of a start.
fn without_lines(data: &mut Vec<u8>) -> Result<()> {
    // Words of the header: its own length, where lines begin behind it, and how many bytes they take; then the same of relocations.
    let word = |data: &[u8], at: usize| data[at..at + 4].try_into().map(u32::from_le_bytes);
    let (header, lines, length, relocations) =
        (word(data, 4)?, word(data, 16)?, word(data, 20)?, word(data, 28)?);
    ensure!(header == 32 && relocations == 0, ".BTF.ext has relocations behind its lines");
    // What is left says how long an entry would be.
    let left = length.min(4);
    data[20..24].copy_from_slice(&left.to_le_bytes());
    data[24..28].copy_from_slice(&(lines + left).to_le_bytes());
    data.truncate((header + lines + left) as usize);
    Ok(())
}

fn write_if_changed(new: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // By renaming, so that whoever reads it meanwhile sees the old object or the new.
    let beside = to.with_extension("new");
    fs::write(&beside, new).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, to).with_context(|| format!("cannot write {}", to.display()))
}
