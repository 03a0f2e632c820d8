//! Calls of the kernel that failed: what was to be done, which call it was, the error by name, and what was seen to be its cause.

use std::{error::Error, fmt, io, path::Path};

use aya::{
    BtfError, EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
    sys::SyscallError,
};
use nix::errno::Errno;

use super::{KernelError, verifier};
use crate::kernel::cause::Surroundings;

/// A call that failed.
#[derive(Debug)]
pub struct Failed {
    /// What was to be done, as in "cannot ...".
    what: String,
    call: String,
    errno: Errno,
    cause: Option<String>,
}

impl Failed {
    pub(crate) fn new(what: impl Into<String>, call: &str, error: &io::Error) -> Self {
        let errno = errno(error);
        let cause = Surroundings::look().cause(errno, "");
        Self { what: what.into(), call: call.to_owned(), errno, cause }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, call, errno, cause } = self;
        write!(f, "cannot {what}: {call}: {}", named(*errno))?;
        write!(f, "; {}", cause.as_deref().unwrap_or(SEE))
    }
}

impl Error for Failed {}

const SEE: &str = "`gateway doctor` tells what this kernel lacks";

/// A program that the kernel did not take.
#[derive(Debug)]
pub struct Refused {
    program: &'static str,
    errno: Errno,
    /// The end of what the verifier said.
    verifier: Vec<String>,
    cause: Option<String>,
}

impl Refused {
    /// From the error of the call and all that the verifier said.
    pub(crate) fn new(program: &'static str, error: &io::Error, log: &str) -> Self {
        let (errno, verifier) = (errno(error), verifier::end(log));
        let cause = Surroundings::look_for_helpers().cause(errno, &verifier.join("\n"));
        Self { program, errno, verifier, cause }
    }

    /// The same program was taken without the offsets that this file gave.
    pub(crate) fn for_fields_of(mut self, file: &Path) -> Self {
        let file = file.display();
        self.cause = Some(format!(
            "it takes the same program without the offsets of {file}: that is of another kernel, or this kernel was built without \
             types of its own (CONFIG_DEBUG_INFO_BTF), which its helpers need; start without it"
        ));
        self
    }

    fn lines(&self) -> String {
        let lines = self.verifier.iter().map(|line| format!("\n  {line}")).collect::<String>();
        if lines.is_empty() { lines } else { format!("\nthe verifier's last lines:{lines}") }
    }

    fn found(&self) -> String {
        let Self { program, errno, .. } = self;
        format!("the kernel refused the program `{program}`: BPF_PROG_LOAD: {}", named(*errno))
    }

    pub(super) fn told(&self) -> (String, Option<String>) {
        (self.found() + &self.lines(), Some(self.cause.as_deref().unwrap_or(SEE).to_owned()))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}{}", self.found(), self.cause.as_deref().unwrap_or(SEE), self.lines())
    }
}

impl Error for Refused {}

/// `EINVAL (Invalid argument)`.
fn named(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc())
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// An error with all that it stands on; errors of calls by name.
pub(in crate::kernel) fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match (error.downcast_ref::<SyscallError>(), error.downcast_ref::<io::Error>()) {
            (Some(call), _) => call.call.to_owned(),
            (_, Some(error)) if error.raw_os_error().is_some() => named(errno(error)),
            _ => error.to_string(),
        };
        // What is transparent says the same as what it stands on.
        if words.last() != Some(&text) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

/// Says of which map an error is.
pub(in crate::kernel) fn on<E: Into<MapError>>(map: &'static str) -> impl FnOnce(E) -> KernelError {
    move |error| of_map(Some(map), error.into())
}

fn of_map(map: Option<&str>, error: MapError) -> KernelError {
    let call = |what: String, call: &str, error: &io::Error| {
        KernelError::Call(Box::new(Failed::new(what, call, error)))
    };
    let of =
        |name: Option<&str>| map.or(name).map_or_else(|| "a map".to_owned(), |name| format!("map `{name}`"));
    match error {
        MapError::CreateError { name, io_error } => {
            call(format!("make {}", of(Some(&name))), "BPF_MAP_CREATE", &io_error)
        }
        MapError::SyscallError(SyscallError { call: name, io_error }) => {
            call(format!("use {}", of(None)), name, &io_error)
        }
        MapError::PinError {
            name,
            error: PinError::SyscallError(SyscallError { call: syscall, io_error }),
        } => call(format!("pin {}", of(name.as_deref())), syscall, &io_error),
        MapError::IoError(error) if error.raw_os_error().is_some() => {
            call(format!("use {}", of(None)), "bpf", &error)
        }
        other => KernelError::Object(format!("{}: {}", of(None), in_words(&other))),
    }
}

impl From<MapError> for KernelError {
    fn from(error: MapError) -> Self {
        of_map(None, error)
    }
}

impl From<EbpfError> for KernelError {
    fn from(error: EbpfError) -> Self {
        match error {
            EbpfError::MapError(error) => error.into(),
            EbpfError::ProgramError(error) => error.into(),
            EbpfError::BtfError(BtfError::LoadError { io_error, .. }) => {
                Self::Call(Box::new(Failed::new("load the object's own types", "BPF_BTF_LOAD", &io_error)))
            }
            other => Self::Object(in_words(&other)),
        }
    }
}

impl From<ProgramError> for KernelError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                Refused::new("gateway", &io_error, &verifier_log.to_string()).into()
            }
            ProgramError::SyscallError(SyscallError { call, io_error }) => {
                Self::Call(Box::new(Failed::new("use the program", call, &io_error)))
            }
            ProgramError::MapError(error) => error.into(),
            other => Self::Object(in_words(&other)),
        }
    }
}

impl From<LinkError> for KernelError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::SyscallError(SyscallError { call, io_error }) => {
                Self::Call(Box::new(Failed::new("attach", call, &io_error)))
            }
            other => Self::Object(in_words(&other)),
        }
    }
}
