//! What an object was given, kept to find out why the kernel refused it.

use std::path::PathBuf;

use aya::{
    EbpfLoader, VerifierLogLevel,
    programs::{ProgramError, Xdp},
};
use gateway_common::abi::Identity;

use super::{
    KernelError, LoadOptions, Program, btf::SocketFields, constants::Constants, error::Refused, object,
};

/// What the object was given, but for its pins.
pub(super) struct Given {
    pub(super) options: LoadOptions,
    pub(super) identity: Identity,
    pub(super) fields: SocketFields,
    /// The file that told the fields.
    pub(super) btf: Option<PathBuf>,
}

impl Given {
    /// Why the kernel refused a program. Before Linux 6.4 (commit 121664093803) a log that is longer than its buffer is cut at its
    /// end, where the error stands, and the call's own error is lost too. Then the object is loaded once more, by itself, with a
    /// log of nothing but the error.
    pub(super) fn refusal(&self, program: Program, error: ProgramError) -> KernelError {
        let (error, log) = match error {
            ProgramError::LoadError { io_error, verifier_log } => (io_error, verifier_log.to_string()),
            other => return other.into(),
        };
        let mut refused = Refused::new(program.name(), &error, &log);
        if error.raw_os_error() == Some(nix::libc::ENOSPC)
            && let Err(ProgramError::LoadError { io_error, verifier_log }) =
                self.load_briefly(program, self.fields)
        {
            refused = Refused::new(program.name(), &io_error, &verifier_log.to_string());
        }
        if let Some(file) = &self.btf
            && self.load_briefly(program, SocketFields::default()).is_ok()
        {
            refused = refused.for_fields_of(file);
        }
        refused.into()
    }

    fn load_briefly(&self, program: Program, fields: SocketFields) -> Result<(), ProgramError> {
        let constants = Constants::of(&self.options, self.identity, fields);
        let mut loader = EbpfLoader::new();
        loader.verifier_log_level(VerifierLogLevel::STATS);
        let object = object::embedded().unwrap_or_default();
        let Ok(mut ebpf) = constants.give(&mut loader).load(object) else { return Ok(()) };
        ebpf.program_mut(program.name()).map_or(Ok(()), |found| <&mut Xdp>::try_from(found)?.load())
    }
}
