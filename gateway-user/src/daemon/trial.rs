//! What `gateway doctor` tries: the start of a gateway on this kernel by the same code, up to the interfaces. Nothing is pinned and
//! nothing attached, and all of it is let go again, so a gateway that runs notices nothing.

use anyhow::Result;
use gateway_common::{
    abi::{Listing, Live},
    hash::Key,
    tables::TableSizes,
};

use crate::{
    config::Config,
    kernel::{Groundwork, Kernel, KernelError, Program, memory},
    net::Interface,
    policy::PolicySet,
    policy::{self, Overrides, Rows},
    prefixes::Prefixes,
};

use super::{
    lifecycle::load_options,
    part::{attach::program, open_files},
    state::addresses,
};

/// A prefix of each family that is in no configuration by right (RFC 5737, RFC 3849).
const PREFIX_V4: ([u8; 4], u8) = ([192, 0, 2, 0], 24);
const PREFIX_V6: ([u8; 16], u8) = ([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 32);

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Making the maps.
    Maps,
    /// Having one build verified.
    Program(Program),
    /// Switching a policy in, with prefixes of both families.
    Policy,
    /// Live entries of both families.
    Live,
}

/// What came of it.
#[derive(Default)]
pub struct Trial {
    /// What failed; the last where nothing could follow it.
    pub failed: Vec<(Part, anyhow::Error)>,
    /// Instructions that the verifier went through for each build that it took.
    pub verified: Vec<(Program, u32)>,
    /// Why sockets are not asked, if so.
    pub sockets_missing: Option<String>,
    /// Why tables are smaller than they should be, if so.
    pub smaller: Option<String>,
}

impl Trial {
    /// Loads all that `gateway run` would load for this configuration, and lets it go.
    pub fn of(config: &Config, interfaces: &[Interface]) -> Self {
        open_files::raise_limit();
        let mut trial = Self::default();
        let groundwork = Groundwork::lay(config.attach.btf.as_deref());
        let (tables, smaller) = memory::tables(TableSizes::default());
        trial.smaller = smaller;
        match Kernel::load_on(groundwork, &load_options(interfaces, tables)) {
            Ok(mut kernel) => trial.all_of(&mut kernel, config),
            Err(error) => trial.failed.push((Part::Maps, error.into())),
        }
        trial
    }

    fn all_of(&mut self, kernel: &mut Kernel, config: &Config) {
        self.sockets_missing = kernel.sockets_missing().map(str::to_owned);
        for program in Program::ALL {
            match verify(kernel, program) {
                Ok(instructions) => self.verified.push((program, instructions)),
                Err(error) => self.failed.push((Part::Program(program), error.into())),
            }
        }
        if let Err(error) = switch(kernel, config) {
            self.failed.push((Part::Policy, error));
        }
        if let Err(error) = kernel.set_live(&one_of_each(Live::NONE)) {
            self.failed.push((Part::Live, error.into()));
        }
    }
}

/// The build that `run` would put on an interface.
pub const fn build_for(interface: &Interface) -> Program {
    program(interface)
}

fn verify(kernel: &mut Kernel, program: Program) -> Result<u32, KernelError> {
    let info = kernel.program(program)?.info()?;
    // A kernel before 5.16 does not say it.
    Ok(info.verified_instruction_count().unwrap_or_default())
}

fn switch(kernel: &mut Kernel, config: &Config) -> Result<()> {
    let key = Key(kernel.identity().key);
    let mut settings =
        policy::compile(config, config.mode, &Overrides::default(), &mut Rows::default(), 1, key)?;
    policy::set_locals(&mut settings, &addresses(config.attach.interfaces.iter().map(String::as_str)));
    let (mut prefixes, more) =
        (policy::prefixes(config).as_ref().clone(), one_of_each(Listing { flags: 0, class: 0, finer: 0 }));
    // Beside those of the configuration none is needed.
    if prefixes.v4.is_empty() {
        prefixes.v4 = more.v4;
    }
    if prefixes.v6.is_empty() {
        prefixes.v6 = more.v6;
    }
    Ok(kernel.apply(&PolicySet::new(settings, prefixes.into()))?)
}

fn one_of_each<V: Copy>(value: V) -> Prefixes<V> {
    let ((v4, length_v4), (v6, length_v6)) = (PREFIX_V4, PREFIX_V6);
    Prefixes { v4: vec![(v4, length_v4, value)], v6: vec![(v6, length_v6, value)] }
}
