//! The modes of services and classes.

use gateway_common::abi::{Settings, mode};

use super::Rows;
use crate::{
    config::Config,
    model::{LimitScope, Mode, keyword::Keyword as _},
};

/// All that can have a mode of its own, services first, with the mode that the configuration gives it.
pub fn modes(config: &Config) -> impl Iterator<Item = (LimitScope, Mode)> {
    let services = config.services.iter().map(|one| (LimitScope::Service(one.name.clone()), one.mode));
    services.chain(config.classes.iter().map(|one| (LimitScope::Class(one.name.clone()), one.mode)))
}

/// Puts the modes of services and classes that were said live in the place of those of the configuration.
pub fn set_modes<'a>(
    settings: &mut Settings,
    config: &Config,
    rows: &Rows,
    modes: impl Iterator<Item = (&'a LimitScope, Mode)>,
) {
    for (scope, mode) in modes {
        match scope {
            LimitScope::Service(name) => {
                let value = rows.0.get(name).and_then(|row| settings.services.get_mut(usize::from(*row)));
                value.into_iter().for_each(|value| value.mode = mode_value(mode));
            }
            LimitScope::Class(name) => {
                let place = config.classes.iter().position(|class| class.name == *name);
                let value = place.and_then(|place| settings.classes.get_mut(place + 1));
                value.into_iter().for_each(|value| value.mode = mode_value(mode).into());
            }
            _ => {}
        }
    }
}

/// The mode of a number of the layout; nothing where it is none's.
pub fn mode_of(value: u32) -> Option<Mode> {
    Mode::KEYWORDS.iter().map(|(_, mode)| *mode).find(|mode| mode_value(*mode) == value)
}

/// Its number in the layout.
pub(super) const fn mode_value(mode: Mode) -> u32 {
    match mode {
        Mode::Enforce => mode::ENFORCE,
        Mode::Monitor => mode::MONITOR,
        Mode::Off => mode::OFF,
    }
}
