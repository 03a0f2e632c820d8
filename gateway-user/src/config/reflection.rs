//! `[reflection]`: what nobody here asked for.

use std::ops::RangeInclusive;

use super::reader::{Reader, Section};
use super::value::ports;
use crate::model::keyword::keywords;
use crate::model::wrong::Wrong;

keywords! {
    /// When datagrams from ports of reflectors, and ICMP errors, are dropped for want of a socket.
    #[derive(Default)]
    DropUnasked {
        /// While the host forwards nothing of their family.
        #[default]
        Auto = "auto",
        /// Even while it forwards: of those for whom it translates addresses it would drop the answers.
        Always = "always",
        /// Never.
        Off = "off",
    }
}

/// What nobody here asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reflection {
    /// When it is dropped.
    pub drop: DropUnasked,
    /// Ports of reflectors beside the known ones.
    pub ports_extra: Vec<RangeInclusive<u16>>,
    /// Ports that are no reflectors'.
    pub ports_allow: Vec<RangeInclusive<u16>>,
}

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Reflection {
    let drop = section.get("drop").and_then(|item| reader.word(&item)).unwrap_or_default();
    let mut list = |key| section.get(key).map(|item| ports(reader, &item)).unwrap_or_default();
    let (extra, allow) = (list("ports_extra"), list("ports_allow"));
    for (more, at) in &extra {
        let overlap =
            |(less, _): &&(RangeInclusive<u16>, _)| less.start() <= more.end() && more.start() <= less.end();
        if let Some((less, other)) = allow.iter().find(overlap) {
            let port = more.start().max(less.start());
            let wrong = Wrong::new(
                format!("port {port} is in `ports_extra` and in `ports_allow`"),
                "leave it out of one of them",
            );
            reader.conflict(at.clone(), wrong, other.clone(), "allowed here".to_owned());
        }
    }
    let without_places = |ports: Vec<(_, _)>| ports.into_iter().map(|(ports, _)| ports).collect();
    Reflection { drop, ports_extra: without_places(extra), ports_allow: without_places(allow) }
}
