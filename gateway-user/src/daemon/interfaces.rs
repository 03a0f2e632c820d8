//! Whether the program is still on its interfaces: one can be made again, renamed or moved away, and a program taken off.

use anyhow::{Result, bail};

use crate::{
    metrics::Readiness,
    model::Happened,
    net::{self, Interface, NetError},
};

use super::{
    part::attach::{actual, attach},
    state::Gateway,
};

impl Gateway {
    /// Looks at every interface, and puts the program on again where it is gone. What becomes of it is in the log once, and in status,
    /// metrics and readiness for as long as it lasts.
    pub(super) fn follow_interfaces(&mut self) {
        let mut events = Vec::new();
        for place in 0..self.attached.len() {
            let outcome = self.look_at(place);
            let attached = &mut self.attached[place];
            let was = std::mem::replace(&mut attached.lost, outcome.err().map(|error| format!("{error:#}")));
            let name = &attached.name;
            match (&was, &attached.lost) {
                (_, None) if was.is_none() => {}
                (_, None) => {
                    log::warn!("{name} is protected again ({})", attached.driver.name());
                    events.push((name.clone(), true, was.unwrap_or_default()));
                    self.follow_host();
                }
                (_, Some(why)) if was.as_ref() != Some(why) => {
                    log::error!("{name} is not protected: {why}");
                    events.push((name.clone(), false, why.clone()));
                }
                (_, Some(_)) => {}
            }
        }
        for (interface, protected, why) in events {
            self.put_down_event(Happened::Interface { interface, protected, why });
        }
    }

    /// Looks at one interface, and puts the program on it if it is not there. An error says why it is not.
    fn look_at(&mut self, place: usize) -> Result<()> {
        let attached = &self.attached[place];
        let (name, before) = (attached.name.clone(), attached.index);
        let interface = net::interface(&name).map_err(|error| gone(&name, before, error))?;
        let on_it = interface.xdp.map(|xdp| xdp.program_id);
        if let Some(program) = on_it {
            if self.kernel.has_program(program) {
                let driver = &mut self.attached[place].driver;
                *driver = actual(&interface, *driver);
                if before != interface.index {
                    self.attached[place].index = interface.index;
                    self.count_by_index()?;
                }
                return Ok(());
            }
            bail!(
                "XDP program {program} of somebody else is on it; take it off, or start the gateway again with --replace"
            );
        }
        let (driver, mut told) = (self.config.attach.driver, Vec::new());
        let again = attach(&mut self.kernel, self.pins.as_ref(), &interface, driver, false, &mut told)?;
        log::warn!(
            "{name} had lost the program{}",
            if before == interface.index { "" } else { ": it was made again" }
        );
        self.attached[place] = again;
        self.count_by_index()?;
        for warning in told {
            self.warn(warning);
        }
        Ok(())
    }

    /// Has the program count each interface by the index that it has now.
    fn count_by_index(&mut self) -> Result<()> {
        let indices: Vec<u32> = self.attached.iter().map(|attached| attached.index).collect();
        Ok(self.kernel.set_interfaces(&indices)?)
    }

    /// Whether every interface is protected.
    pub(super) fn readiness(&self) -> Readiness {
        let lost = self
            .attached
            .iter()
            .filter_map(|attached| attached.lost.as_ref().map(|why| format!("{}: {why}", attached.name)));
        let lost: Vec<_> = lost.collect();
        if lost.is_empty() { Readiness::Ready } else { Readiness::NotReady(lost.join("; ")) }
    }
}

/// Why there is no interface of this name any more, which had this number.
fn gone(name: &str, index: u32, error: NetError) -> anyhow::Error {
    let NetError::Unknown { .. } = error else { return error.into() };
    let renamed = net::interfaces().ok().and_then(|all| all.into_iter().find(|one| one.index == index));
    match renamed {
        Some(Interface { name: other, .. }) => anyhow::anyhow!(
            "it is called {other} now; give it its name back, or name {other} in attach.interfaces and start the gateway again"
        ),
        None => anyhow::anyhow!("there is no interface {name}; once there is one, it gets the program"),
    }
}
