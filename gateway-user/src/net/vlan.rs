//! VLAN devices on top of an interface, and what a program in its driver sees of their tags.

use super::{Interface, NetError, features};

/// The VLAN devices of this network namespace that lie on an interface.
#[must_use]
pub fn vlans<'a>(interface: &Interface, all: &'a [Interface]) -> Vec<&'a str> {
    let above =
        all.iter().filter(|one| one.kind.as_deref() == Some("vlan") && one.lower == Some(interface.index));
    above.map(|one| one.name.as_str()).collect()
}

/// Whether tags are taken off before a program in the driver sees a frame; its answers then leave without. Between the ends of a veth no tag is
/// ever in the frame, unless the sender was told so; of a card whose driver cannot tell it is supposed.
///
/// # Errors
/// Whatever keeps the kernel from answering.
pub fn is_untagged(interface: &Interface) -> Result<bool, NetError> {
    let is_veth = interface.kind.as_deref() == Some("veth");
    Ok(is_veth || features::takes_tags_off(interface.index)?.unwrap_or(true))
}

/// What has tags stay in the frames that come by an interface, for whoever operates the host.
#[must_use]
pub fn keep_tags(name: &str) -> String {
    format!(
        "`ethtool -K {name} rxvlan off` (of a veth, txvlan off at its other end, and attach.driver = \"generic\")"
    )
}
