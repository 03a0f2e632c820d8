//! What is measured: the gateway's program under a policy, and the lab's programs beside it.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aya::maps::ProgramArray;
use aya::programs::{ProgramFd, TestRun as _, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, TestRunOptions};
use gateway_common::{abi::Identity, tables::TableSizes};
use gateway_tests::kernel::options;
use gateway_tests::lab::Namespace;
use gateway_user::host::Stand;
use gateway_user::kernel::{Kernel, LoadOptions, Program};

/// Loads the program as the daemon would, with the real clock.
pub(crate) fn gateway(interfaces: Vec<u32>) -> Result<Kernel> {
    sized(interfaces, TableSizes::default(), true)
}

/// The same with tables of another size, and asking the host's TCP or not.
pub(crate) fn sized(interfaces: Vec<u32>, tables: TableSizes, sockets: bool) -> Result<Kernel> {
    // The key that stands hash server names with.
    let identity = Identity { key: Stand::new().key.0, ..options().identity };
    load(&LoadOptions { identity, tables, interfaces, sockets, ..options() })
}

/// The same for many sources, whose places are by a key as good as those that are drawn: digits of pi.
pub(crate) fn spread_out(tables: TableSizes) -> Result<Kernel> {
    let identity = Identity { key: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344], ..options().identity };
    load(&LoadOptions { identity, tables, sockets: true, ..options() })
}

fn load(options: &LoadOptions) -> Result<Kernel> {
    Kernel::load(options).context("cannot load the gateway")
}

/// The lab's object with one of its programs loaded, for test runs.
pub(crate) struct Baseline {
    ebpf: Ebpf,
    name: &'static str,
}

impl Baseline {
    /// Loads a program by its name in the object.
    pub(crate) fn load(name: &'static str) -> Result<Self> {
        Self::with(name, &[])
    }

    /// The same with values of its constants.
    pub(crate) fn with(name: &'static str, constants: &[(&str, &[u32])]) -> Result<Self> {
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/lab.bpf.o");
        let path = env::var_os("GATEWAY_LAB_OBJECT").map_or_else(|| PathBuf::from(default), PathBuf::from);
        let object = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut loader = EbpfLoader::new();
        for (name, value) in constants {
            loader.override_global(name, *value, true);
        }
        let mut ebpf = loader.load(&object)?;
        let xdp: &mut Xdp = ebpf.program_mut(name).context("the object lacks a program")?.try_into()?;
        xdp.load()?;
        Ok(Self { ebpf, name })
    }

    /// Puts it on an interface in generic mode, for as long as this is held.
    pub(crate) fn attach(&mut self, namespace: &Namespace, interface: &str) -> Result<()> {
        let program = self.ebpf.program_mut(self.name).context("the object lacks a program")?;
        let xdp: &mut Xdp = program.try_into()?;
        namespace.enter(|| xdp.attach(interface, XdpMode::Skb))??;
        Ok(())
    }

    /// Has it go on with another program, if it is `spray`.
    pub(crate) fn go_on(&mut self, program: &ProgramFd) -> Result<()> {
        let map = self.ebpf.map_mut("MEASURED").context("the object lacks a map")?;
        Ok(ProgramArray::try_from(map)?.set(0, program, 0)?)
    }

    /// The program.
    pub(crate) fn program(&mut self) -> Result<&Xdp> {
        let program = self.ebpf.program_mut(self.name).context("the object lacks a program")?;
        let xdp: &mut Xdp = program.try_into()?;
        Ok(xdp)
    }
}

/// Nanoseconds a frame, and what became of the last one.
pub(crate) fn test_run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(f64, u32)> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    let result = program.test_run(options).context("the kernel refuses a test run")?;
    Ok((result.duration.as_nanos() as f64, result.return_value))
}

/// The same for the gateway's program.
pub(crate) fn gateway_run(kernel: &mut Kernel, frame: &[u8], repeat: u32) -> Result<(f64, u32)> {
    test_run(kernel.program(Program::Plain)?, frame, repeat)
}
