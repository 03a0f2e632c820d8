//! Interfaces above others: what comes by one of them has come by one below before.

use super::{Interface, link::MACVLAN_PASSTHRU};

/// Kinds of devices whose packets have all come by the one device that they name as below.
const ON_ONE: [&str; 6] = ["vlan", "macvlan", MACVLAN_PASSTHRU, "macvtap", "ipvlan", "ipvtap"];

/// The interfaces that packets of one come by before: a bridge's or bond's ports, the device below a VLAN or macvlan. Of others none.
fn lowers<'a>(interface: &Interface, all: &'a [Interface]) -> Vec<&'a Interface> {
    let is_on_one = interface.kind.as_deref().is_some_and(|kind| ON_ONE.contains(&kind));
    let is_lower = |other: &&Interface| {
        other.master == Some(interface.index) || (is_on_one && interface.lower == Some(other.index))
    };
    all.iter().filter(is_lower).collect()
}

/// The device below a macvlan one, where it is this namespace's: it takes packets for itself, and answers ARP for all of the host's addresses.
/// In mode passthru it takes none.
pub fn below_macvlan<'a>(interface: &Interface, all: &'a [Interface]) -> Option<&'a Interface> {
    if interface.kind.as_deref() != Some("macvlan") {
        return None;
    }
    lowers(interface, all).into_iter().next()
}

/// How much of an interface's packets come by interfaces of `others` before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    /// None.
    No,
    /// Some.
    InPart,
    /// All.
    Whole,
}

/// Whether packets of an interface have gone through some of `others` before, however many devices lie between.
pub fn covered(interface: &Interface, others: &[&str], all: &[Interface]) -> Covered {
    let below = lowers(interface, all);
    let each: Vec<Covered> =
        below
            .iter()
            .map(|lower| {
                if others.contains(&lower.name.as_str()) {
                    Covered::Whole
                } else {
                    covered(lower, others, all)
                }
            })
            .collect();
    if each.iter().all(|one| *one == Covered::No) {
        Covered::No
    } else if each.iter().all(|one| *one == Covered::Whole) {
        Covered::Whole
    } else {
        Covered::InPart
    }
}

#[cfg(test)]
mod tests {
    use super::Covered::{InPart, No, Whole};
    use super::*;

    fn device(index: u32, name: &str, kind: &str, lower: Option<u32>, master: Option<u32>) -> Interface {
        Interface { kind: Some(kind.to_owned()), lower, master, ..Interface::plain(index, name) }
    }

    #[test]
    fn what_has_come_by_another_before_is_known() {
        let all = [
            device(1, "a", "veth", Some(9), Some(3)),
            device(2, "b", "veth", Some(1), Some(3)),
            device(3, "bond0", "bond", None, None),
            device(4, "bond0.7", "vlan", Some(3), Some(5)),
            device(5, "br0", "bridge", None, None),
            device(6, "mac0", "macvlan", Some(1), None),
        ];
        for (name, others, expected) in [
            ("bond0", &["a"][..], InPart),
            ("bond0", &["a", "b"], Whole),
            ("bond0", &["br0"], No),
            ("bond0.7", &["bond0"], Whole),
            ("br0", &["a", "b"], Whole),
            ("br0", &["a"], InPart),
            ("mac0", &["a"], Whole),
            ("mac0", &["b"], No),
            // The other end of a veth is not below it.
            ("b", &["a"], No),
            ("a", &["bond0", "br0"], No),
        ] {
            let interface = all.iter().find(|one| one.name == name).unwrap();
            assert_eq!(covered(interface, others, &all), expected, "{name} {others:?}");
        }
    }
}
