//! Which program goes onto an interface, and how.

use anyhow::{Result, bail};

use crate::{
    config::Driver,
    kernel::{Kernel, KernelError, Program, attach, pins::Pins},
    net::{self, Framing, Interface},
};

/// The largest MTU whose frames surely fit one buffer, whatever the driver: a page less its headroom and tail.
const ONE_BUFFER_MTU: u32 = 3_400;

/// An interface with the program on it.
pub(in crate::daemon) struct Attached {
    /// Name.
    pub(in crate::daemon) name: String,
    /// Kernel index.
    pub(in crate::daemon) index: u32,
    /// Native or generic.
    pub(in crate::daemon) driver: attach::Driver,
    /// Why the program is not on it any more, if so.
    pub(in crate::daemon) lost: Option<String>,
    /// The attachment.
    pub(in crate::daemon) attachment: attach::Attachment,
}

/// The build of the program that an interface needs.
pub(in crate::daemon) const fn program(interface: &Interface) -> Program {
    if matches!(interface.framing, Framing::Bare) {
        Program::Bare
    } else if interface.mtu > ONE_BUFFER_MTU {
        Program::Frags
    } else {
        Program::Plain
    }
}

/// Attaches to one interface. A foreign program is only replaced when told.
pub(in crate::daemon) fn attach(
    kernel: &mut Kernel,
    pins: Option<&Pins>,
    interface: &Interface,
    driver: Driver,
    replace: bool,
    warnings: &mut Vec<String>,
) -> Result<Attached> {
    let name = &interface.name;
    let ours = pins.is_some_and(|pins| pins.interfaces().contains(name));
    if let Some(foreign) = interface.xdp.filter(|_| !ours) {
        if !replace {
            bail!(KernelError::Foreign { interface: name.clone() });
        }
        warnings.push(format!("{name}: XDP program {} of somebody else was replaced", foreign.program_id));
        net::detach_xdp(interface.index, foreign.mode)?;
    }
    let current = interface.xdp.map(|xdp| xdp.program_id);
    let mut put = |driver| kernel.attach(name, interface.index, program(interface), driver, current);
    let (attachment, driver) = match driver {
        Driver::Generic => (put(attach::Driver::Generic)?, attach::Driver::Generic),
        Driver::Native => (put(attach::Driver::Native)?, attach::Driver::Native),
        Driver::Auto => match put(attach::Driver::Native) {
            Ok(attachment) => (attachment, attach::Driver::Native),
            Err(KernelError::Native { reason, .. }) => {
                warnings.push(format!(
                    "{name}: its driver takes no native XDP ({reason}); attached in generic mode, which costs several \
                     times as much for each packet; `gateway doctor {name}` says what to change"
                ));
                (put(attach::Driver::Generic)?, attach::Driver::Generic)
            }
            Err(error) => return Err(error.into()),
        },
    };
    let driver = net::interface(name).map_or(driver, |interface| actual(&interface, driver));
    Ok(Attached { name: name.clone(), index: interface.index, driver, lost: None, attachment })
}

/// The mode in which the program is on an interface: an attachment taken over from an earlier daemon keeps its own.
pub(in crate::daemon) fn actual(interface: &Interface, asked: attach::Driver) -> attach::Driver {
    match interface.xdp.map(|xdp| xdp.mode) {
        Some(net::Mode::Generic) => attach::Driver::Generic,
        Some(net::Mode::Native) => attach::Driver::Native,
        _ => asked,
    }
}
