//! The program onto interfaces, and off again.

use std::{io::ErrorKind, os::fd::AsFd as _};

use aya::programs::{
    ProgramError, XdpMode,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};

use super::{Kernel, KernelError, Program, bpf, error::in_words};

/// How the kernel runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// In the interface's driver, before the kernel spends anything on a packet.
    Native,
    /// After the kernel has made its own packet of it.
    Generic,
}

impl Driver {
    /// The word for it in configuration and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// An attached program. Dropping it leaves the program attached when it is pinned, and detaches it when not.
#[derive(Debug)]
pub struct Attachment {
    link: Link,
}

#[derive(Debug)]
enum Link {
    Pinned(PinnedLink),
    /// Of a kernel without pins, as in tests: goes with the process.
    Held(#[expect(dead_code, reason = "held for its drop")] FdLink),
}

impl Attachment {
    /// Takes the program off the interface.
    ///
    /// # Errors
    /// When the pin cannot be removed.
    pub fn detach(self) -> std::io::Result<()> {
        match self.link {
            // The unpinned link is dropped, and with its last descriptor the attachment goes.
            Link::Pinned(link) => match link.unpin() {
                // Of an interface that is gone: another pin was to take its place.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(link) => {
                    // Another pin of it may be where it cannot be seen.
                    if let Some(link) = link.info().ok().and_then(|info| bpf::link(info.id()).ok()) {
                        let _ = bpf::detach_link(link.as_fd());
                    }
                    Ok(())
                }
            },
            Link::Held(_) => Ok(()),
        }
    }
}

impl Kernel {
    /// Puts the program on an interface: into the pinned link of an earlier daemon without a gap, or anew. `current` is the
    /// id of the program that is on the interface now, by which a pinned link is known to be this interface's.
    ///
    /// # Errors
    /// [`KernelError::Foreign`] when somebody else's program is there, [`KernelError::Native`] when the driver refuses.
    pub fn attach(
        &mut self,
        interface: &str,
        index: u32,
        program: Program,
        driver: Driver,
        current: Option<u32>,
    ) -> Result<Attachment, KernelError> {
        let pin = self.pins.as_ref().map(|pins| pins.link(interface));
        let xdp = self.program(program)?;
        if let Some(path) = &pin
            && let Ok(link) = PinnedLink::from_pin(path)
        {
            let link = FdLink::from(link);
            let program = link.info().ok().map(|info| info.program_id());
            if program.is_some() && program == current {
                // Names the same link twice, so that it is never without a name.
                let id = xdp.attach_to_link(XdpLink::try_from(link)?)?;
                drop(xdp.take_link(id)?);
                return Ok(Attachment { link: Link::Pinned(PinnedLink::from_pin(path)?) });
            }
            // Of an interface that is gone, or had another index.
            let _ = std::fs::remove_file(path);
        }
        let mode = match driver {
            Driver::Native => XdpMode::Driver,
            Driver::Generic => XdpMode::Skb,
        };
        let id = xdp.attach_to_if_index(index, mode).map_err(|error| refusal(interface, driver, error))?;
        let link: FdLink = match xdp.take_link(id)?.try_into() {
            Ok(link) => link,
            Err(_) => return Err(KernelError::NoLink { interface: interface.to_owned() }),
        };
        let link = match pin {
            None => Link::Held(link),
            Some(path) => Link::Pinned(
                link.pin(&path)
                    .map_err(|cause| KernelError::Pin { path: path.display().to_string(), cause })?,
            ),
        };
        Ok(Attachment { link })
    }
}

fn refusal(interface: &str, driver: Driver, error: ProgramError) -> KernelError {
    let code = match &error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    match code {
        Some(nix::libc::EBUSY | nix::libc::EEXIST) => {
            KernelError::Foreign { interface: interface.to_owned() }
        }
        _ if driver == Driver::Native => {
            KernelError::Native { interface: interface.to_owned(), reason: in_words(&error) }
        }
        _ => error.into(),
    }
}
