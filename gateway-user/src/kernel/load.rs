//! Program and maps into the kernel.

use std::{
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData, PerCpuArray},
    programs::Xdp,
};
use aya_log::EbpfLogger;
use gateway_common::{
    abi::{Identity, Settings, Tally},
    hash::Key,
    tables::TableSizes,
    verdict::COLUMNS,
};

use super::{
    KernelError, bans,
    btf::{BtfError, SocketFields},
    constants::{Constants, pinned},
    error::on,
    given::Given,
    holders::Holders,
    object,
    own::HostMaps,
    pins::Pins,
    policy::PolicyMaps,
    refusals::Refusals,
    samples::Samples,
    tables::Tables,
    take::take,
    value::Value,
};

/// The builds of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// For frames in one buffer.
    Plain,
    /// For frames in several buffers: jumbo MTUs.
    Frags,
    /// For packets without an Ethernet header: of tun, WireGuard, PPP and IP tunnels.
    Bare,
}

impl Program {
    /// All.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Frags, Self::Bare];

    /// Its name in the object and in the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "gateway",
            Self::Frags => "gateway_frags",
            Self::Bare => "gateway_bare",
        }
    }
}

/// What is fixed at load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Key and epoch of the tables; kept from pinned maps where there are any.
    pub identity: Identity,
    /// Slots of the tables.
    pub tables: TableSizes,
    /// Indices of the interfaces, in the order of their counter rows.
    pub interfaces: Vec<u32>,
    /// What the program cannot do goes to the log.
    pub debug_log: bool,
    /// The clock is [`Kernel::set_clock`]'s, and [`Kernel::test_hook`] tells the last verdict.
    pub testing: bool,
    /// Ask the host's TCP where connections stand.
    pub sockets: bool,
    /// Where maps are pinned and found again.
    pub pins: Option<Pins>,
    /// The build that is to be loaded first: a thread begins with it as soon as the maps are there, since the verifier takes longer than
    /// all else that is to be done before the program can be attached. [`Kernel::program`] waits for it, and tells of errors.
    pub first: Option<Program>,
}

/// What loading begins with, whatever the options: what the kernel says of itself.
pub struct Groundwork {
    loader: EbpfLoader<'static>,
    /// A file that says it in the kernel's place.
    btf: Option<PathBuf>,
    fields: Result<SocketFields, BtfError>,
}

impl Groundwork {
    /// Reads the kernel's types, on two CPUs; those of sockets from a file, if one is named.
    #[must_use]
    pub fn lay(btf: Option<&Path>) -> Self {
        thread::scope(|scope| {
            let fields = scope.spawn(|| {
                aya::features();
                SocketFields::find(btf)
            });
            // aya parses all that the kernel says of its types, whether it is needed or not. Here, since the heap of the first
            // thread grows in larger steps than that of others.
            let loader = EbpfLoader::new();
            let fields = fields.join().unwrap_or_else(|panic| resume_unwind(panic));
            Self { loader, btf: btf.map(Path::to_owned), fields }
        })
    }
}

/// The object with its programs.
enum Object {
    Here(Box<Ebpf>),
    /// A thread has it, which loads a program.
    Away(JoinHandle<Box<Ebpf>>),
    /// On the way from the one to the other.
    Between,
}

impl Object {
    /// Waits for the thread that has it.
    fn here(&mut self) -> Result<&mut Ebpf, KernelError> {
        *self = match std::mem::replace(self, Self::Between) {
            Self::Away(thread) => Self::Here(thread.join().unwrap_or_else(|panic| resume_unwind(panic))),
            other => other,
        };
        if let Self::Here(ebpf) = self { Ok(ebpf) } else { Err(KernelError::NoObject) }
    }
}

/// The loaded program with its maps.
pub struct Kernel {
    object: Object,
    pub(super) policy: PolicyMaps,
    pub(super) bans: bans::Bans,
    pub(super) host: HostMaps,
    pub(super) pins: Option<Pins>,
    /// The settings in force.
    pub(super) settings: Option<Box<Settings>>,
    pub(super) testing: bool,
    tables: Tables,
    identity: Identity,
    pub(super) counters: PerCpuArray<MapData, Value<[Tally; COLUMNS]>>,
    pub(super) service_counters: PerCpuArray<MapData, [u64; COLUMNS]>,
    pub(super) notes: PerCpuArray<MapData, u64>,
    refusals: Option<Refusals>,
    pub(super) samples: Samples,
    pub(super) samples_lost: PerCpuArray<MapData, u64>,
    holders: Option<Holders>,
    /// Why sockets are not asked, if they should have been.
    sockets_missing: Option<String>,
    /// What the object was given, to give it again.
    given: Given,
    /// Whether maps of an earlier daemon were found and used.
    resumed: bool,
}

impl Kernel {
    /// Loads program and maps. Pinned maps of the same shapes are used again, with all they hold.
    ///
    /// # Errors
    /// Without an embedded object, without rights, or when the kernel refuses.
    pub fn load(options: &LoadOptions) -> Result<Self, KernelError> {
        Self::load_on(Groundwork::lay(None), options)
    }

    /// The same where the ground is laid already.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_on(groundwork: Groundwork, options: &LoadOptions) -> Result<Self, KernelError> {
        let object = object::embedded().ok_or(KernelError::NoObject)?;
        let (identity, resumed) = resume(options)?;
        let (fields, sockets_missing) = match groundwork.fields {
            Ok(fields) if options.sockets => (fields, None),
            // A file that was named is to be used, or to be told of.
            Err(error) if options.sockets && groundwork.btf.is_some() => return Err(error.into()),
            Err(error) if options.sockets => (SocketFields::default(), Some(error.to_string())),
            _ => (SocketFields::default(), None),
        };
        let constants = Constants::of(options, identity, fields);
        let given = Given {
            options: LoadOptions { pins: None, ..options.clone() },
            identity,
            fields,
            btf: groundwork.btf,
        };
        let mut loader: EbpfLoader<'_> = groundwork.loader;
        let mut ebpf = constants.give(&mut loader).load(object)?;
        let policy = PolicyMaps::take(&mut ebpf)?;
        let mut kernel = Self {
            tables: Tables::map(&ebpf, &options.tables)?,
            bans: bans::map(&ebpf, Key(identity.key), resumed)?,
            policy,
            host: HostMaps::take(&mut ebpf)?,
            identity,
            counters: take(&mut ebpf, "counters")?,
            service_counters: take(&mut ebpf, "service_counts")?,
            notes: take(&mut ebpf, "notes")?,
            refusals: Some(Refusals::take(&mut ebpf)?),
            samples: Samples::take(&mut ebpf)?,
            samples_lost: take(&mut ebpf, "samples_lost")?,
            holders: Some(Holders::take(&mut ebpf)?),
            sockets_missing,
            given,
            resumed,
            settings: None,
            pins: options.pins.clone(),
            testing: options.testing,
            object: Object::Here(Box::new(ebpf)),
        };
        kernel.write_identity()?;
        kernel.set_interfaces(&options.interfaces)?;
        if let Some(program) = options.first {
            kernel.begin(program);
        }
        // What the loader knows of the kernel's types takes a while to free: not before the verifier has begun.
        drop(loader);
        Ok(kernel)
    }

    /// Begins to load one build of the program in a thread of its own.
    fn begin(&mut self, program: Program) {
        self.object = match std::mem::replace(&mut self.object, Object::Between) {
            Object::Here(mut ebpf) => Object::Away(thread::spawn(move || {
                if let Some(Ok(xdp)) = ebpf.program_mut(program.name()).map(<&mut Xdp>::try_from) {
                    // What fails here fails there again.
                    let _ = xdp.load();
                }
                ebpf
            })),
            other => other,
        };
    }

    /// Loads one build of the program into the kernel, once.
    ///
    /// # Errors
    /// When the verifier refuses it.
    pub fn program(&mut self, program: Program) -> Result<&mut Xdp, KernelError> {
        let xdp = find(self.object.here()?, program)?;
        let outcome = if xdp.fd().is_err() { xdp.load() } else { Ok(()) };
        match outcome {
            Ok(()) => find(self.object.here()?, program),
            Err(error) => Err(self.given.refusal(program, error)),
        }
    }

    /// Whether a program in the kernel is one of these.
    pub fn has_program(&mut self, id: u32) -> bool {
        let Ok(ebpf) = self.object.here() else { return false };
        let mut builds = Program::ALL.into_iter();
        builds.any(|build| {
            let program = ebpf.program(build.name()).and_then(|program| program.info().ok());
            program.is_some_and(|info| info.id() == id)
        })
    }

    /// The tables, mapped into this process.
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Key and epoch in force.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Why the TLS gate cannot ask the host's TCP, if so.
    pub fn sockets_missing(&self) -> Option<&str> {
        self.sockets_missing.as_deref()
    }

    /// Whether an earlier daemon's maps were taken over.
    pub const fn resumed(&self) -> bool {
        self.resumed
    }

    /// What a program that was loaded with `debug_log` says, into the process's log.
    ///
    /// # Errors
    /// When the program's ring buffer is not there.
    pub fn log(&mut self) -> Result<EbpfLogger<&'static dyn log::Log>, KernelError> {
        EbpfLogger::init_with_logger(self.object.here()?, log::logger())
            .map_err(|error| KernelError::Log(error.to_string()))
    }

    /// The connections that are to be ended: once, for they go to one reader.
    pub const fn take_refusals(&mut self) -> Option<Refusals> {
        self.refusals.take()
    }

    /// Where the program is told who may have no more connections: once, for there is one writer.
    pub const fn take_holders(&mut self) -> Option<Holders> {
        self.holders.take()
    }

    /// An array that stays with the object: the program needs it when it is loaded.
    pub(super) fn array<V: aya::Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<Array<&mut MapData, V>, KernelError> {
        Ok(self.object.here()?.map_mut(name).ok_or(KernelError::NoMap(name))?.try_into()?)
    }

    fn write_identity(&mut self) -> Result<(), KernelError> {
        let identity = Value(self.identity);
        let mut map: Array<_, Value<Identity>> = self.array("identity")?;
        map.set(0, identity, 0).map_err(on("identity"))
    }
}

/// One build of the program.
fn find(ebpf: &mut Ebpf, program: Program) -> Result<&mut Xdp, KernelError> {
    Ok(ebpf.program_mut(program.name()).ok_or(KernelError::NoMap(program.name()))?.try_into()?)
}

/// Looks at the pinned maps: all of the right shape, and their identity holds; else they are forgotten, and new ones made.
fn resume(options: &LoadOptions) -> Result<(Identity, bool), KernelError> {
    let Some(pins) = &options.pins else { return Ok((options.identity, false)) };
    let all_fit = pinned(&options.tables).iter().all(|(name, shape)| pins.holds(name, shape));
    if all_fit && let Ok(map) = MapData::from_pin(pins.map("identity")) {
        let map: Array<_, Value<Identity>> = Map::Array(map).try_into()?;
        let Value(identity) = map.get(&0, 0)?;
        if identity.abi == options.identity.abi {
            return Ok((identity, true));
        }
    }
    pins.forget_maps()?;
    Ok((options.identity, false))
}
