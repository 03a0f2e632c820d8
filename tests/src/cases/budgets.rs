//! Every limit at its exact edge: a burst passes and no packet more, and one emission interval later one packet.

use std::time::Duration;

use gateway_common::{
    limit::rate::{Dimension, Limit},
    verdict::{Reason, Scope},
};
use gateway_user::host::Stand;

use super::frames::{PORT, SERVER, SERVER_V6, ping, v4};
use super::{Case, Draft, Offer, limit};
use crate::builder::{
    Frame, flags, ip,
    quic::{V1, initial},
};

/// Bytes of the frames that use up bytes; so many at once are a burst, so many a second the rate.
const FRAME: u64 = 1_000;
/// Frames of a burst.
const BURST: u64 = 5;
/// Frames a second.
const RATE: u64 = 10;
/// One frame's emission interval.
const INTERVAL: Duration = Duration::from_millis(100);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// The frame that counts in a dimension, and the limit that it meets.
fn edge(dimension: Dimension) -> (Frame, Limit) {
    let frames = limit(dimension, RATE * if dimension == Dimension::Bytes { FRAME } else { 1 }, {
        BURST * if dimension == Dimension::Bytes { FRAME } else { 1 }
    });
    let frame = match dimension {
        Dimension::Packets => v4().tcp(PORT, 443),
        Dimension::Bytes => v4().tcp(PORT, 443).payload(&[0; FRAME as usize - 54]),
        Dimension::Syn => v4().tcp(PORT, 443).flags(flags::SYN),
        Dimension::Udp => v4().udp(PORT, 443),
        Dimension::Icmp => ping(),
        Dimension::Initial | Dimension::Migration => v4().udp(PORT, 443).payload(&initial(V1, 1_200)),
    };
    (frame, frames)
}

/// The walk along the edge.
fn walk(name: &str, stand: Stand, frame: Frame, over: Reason) -> Case {
    Case::under(name, stand)
        .times(BURST as usize, frame.clone(), Reason::Ok)
        .times(2, frame.clone(), over)
        .after(INTERVAL - NANOSECOND)
        .gets(frame.clone(), over)
        .after(NANOSECOND)
        .gets(frame.clone(), Reason::Ok)
        .gets(frame.clone(), over)
        .after(INTERVAL * 3)
        .times(3, frame.clone(), Reason::Ok)
        .gets(frame.clone(), over)
        .after(Duration::from_secs(3_600))
        .times(BURST as usize, frame.clone(), Reason::Ok)
        .gets(frame, over)
}

/// Hosts behind one translator are held apart, and each together with itself over IPv4.
fn translated() -> Case {
    let from = |host: &str| ip(&format!("64:ff9b::{host}"), SERVER_V6).udp(PORT, 443);
    let stand = Stand::new().each(Dimension::Udp, limit(Dimension::Udp, 1, 2));
    Case::under("a limit of hosts behind a translator", stand)
        .gets(from("192.0.2.77"), Reason::Ok)
        .gets(ip("192.0.2.77", SERVER).udp(PORT, 443), Reason::Ok)
        .gets(from("192.0.2.77"), Reason::LimitUdp)
        .gets(from("192.0.2.78"), Reason::Ok)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![translated()];
    for dimension in Dimension::OF_SOURCES.into_iter().chain([Dimension::Initial]) {
        let (frame, edge) = edge(dimension);
        let name = |scope: &str| format!("{scope}: {}", dimension.name());
        if dimension != Dimension::Initial {
            cases.push(walk(
                &name("a source's limit"),
                Stand::new().each(dimension, edge),
                frame.clone(),
                Scope::Source.reason(dimension),
            ));
            cases.push(walk(
                &name("a neighbourhood's limit"),
                Stand::new().neighbours(dimension, edge),
                frame.clone(),
                Scope::Neighbours.reason(dimension),
            ));
        }
        // A service is found by port, and ICMP has none.
        if dimension != Dimension::Icmp {
            let service = match dimension {
                Dimension::Udp => Offer::udp(443),
                Dimension::Initial => Offer::quic(443),
                _ => Offer::tcp(443),
            };
            cases.push(walk(
                &name("a service's limit of sources"),
                Stand::new().serve(service.clone().own(dimension, edge)),
                frame.clone(),
                Scope::Source.reason(dimension),
            ));
            cases.push(walk(
                &name("a service's total"),
                Stand::new().serve(service.total(dimension, edge)),
                frame,
                Scope::Service.reason(dimension),
            ));
        }
    }
    cases
}
