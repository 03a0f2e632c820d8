//! Ethernet and VLAN tags.

use gateway_common::verdict::Reason;
use gateway_user::host::Stand;

use super::frames::{HTTP, ack, data};
use super::{Case, Draft, Offer, one};
use crate::builder::{self, TPID_QINQ, TPID_VLAN};

/// The tag that switches sent before there was 802.1ad.
const TPID_OLD: u16 = 0x9100;

pub(super) fn cases() -> Vec<Case> {
    let gated = |name: &str, frame: builder::Frame, reason| {
        Case::under(name, Stand::new().serve(Offer::tls(443))).gets(frame, reason)
    };
    vec![
        gated("no tag", data(HTTP), Reason::PlaintextHttp),
        gated("one tag", data(HTTP).vlan(7), Reason::PlaintextHttp),
        gated("a priority tag", data(HTTP).vlan(0xe000), Reason::PlaintextHttp),
        gated("two tags", data(HTTP).tag(TPID_QINQ, 7).vlan(8), Reason::PlaintextHttp),
        gated("two old tags", data(HTTP).tag(TPID_OLD, 7).vlan(8), Reason::PlaintextHttp),
        gated("two customer's tags", data(HTTP).vlan(7).vlan(8), Reason::PlaintextHttp),
        gated("three tags", data(HTTP).vlan(7).vlan(8).vlan(9), Reason::VlanDepth),
        gated("four tags", data(HTTP).vlan(7).vlan(8).vlan(9).vlan(10), Reason::VlanDepth),
        one("a tag cut off", builder::ethernet(TPID_VLAN, &[]), Reason::FrameTruncated),
        one("a tag without what it tags", builder::ethernet(TPID_VLAN, &[0, 7]), Reason::FrameTruncated),
        one("a second tag cut off", builder::ethernet(TPID_QINQ, &[0, 7, 0x81, 0]), Reason::FrameTruncated),
        one("three tags cut off", ack().vlan(7).vlan(8).vlan(9).truncate(22), Reason::VlanDepth),
        one("ARP", builder::ethernet(0x0806, &[0; 46]), Reason::NonIp),
        one("ARP under a tag", builder::ethernet(0x0806, &[0; 46]).vlan(7), Reason::NonIp),
        one("LLDP", builder::ethernet(0x88cc, &[0; 46]), Reason::NonIp),
        one("LACP", builder::ethernet(0x8809, &[1; 110]), Reason::NonIp),
        one("spanning tree, an 802.3 frame", builder::ethernet(0x0026, &[0x42; 46]), Reason::NonIp),
        one("EAPOL", builder::ethernet(0x888e, &[0; 46]), Reason::NonIp),
        one("PPPoE", builder::ethernet(0x8864, &[0x11; 46]), Reason::Encapsulated),
        one("PPPoE's discovery", builder::ethernet(0x8863, &[0x11; 46]), Reason::NonIp),
        one("MPLS", builder::ethernet(0x8847, &[0; 46]), Reason::Encapsulated),
        one(
            "MPLS to a group, under a tag",
            builder::ethernet(0x8848, &[0; 46]).vlan(7),
            Reason::Encapsulated,
        ),
        one("a header alone", builder::ethernet(0x0806, &[]), Reason::NonIp),
    ]
}
