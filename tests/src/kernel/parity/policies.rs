//! The policies of the run.

use gateway_common::{
    abi::{FOREVER, listing, mode, policy},
    limit::rate::Dimension,
    source::{KEY_SHARED_V4, shared_56},
};
use gateway_user::host::Stand;

use crate::{
    cases::{CLIENT, CLIENT_V6, Draft as _, Offer, SERVER, SERVER_V6, limit},
    laws::{reading_stand, rich_stand},
};

/// The policies in turn: every limit there is, the same in monitor mode and with a clock that is read for each packet, gates that
/// no limit hides, and limits, lists and bans that no other hides.
pub(super) fn stand(turn: u64) -> Stand {
    let gates = Stand::new().serve(Offer::tls(443)).serve(Offer::udp(53));
    match turn % 14 {
        0 => rich_stand(),
        1 => kinds(),
        2 => blocked(),
        3 => banned(),
        4 => [Dimension::Syn, Dimension::Icmp]
            .into_iter()
            .fold(gates, |stand, dimension| stand.each(dimension, small(dimension)))
            .share("192.0.0.0/16", KEY_SHARED_V4, FOREVER)
            .finer("2001:db8::/60", 7, 112)
            .share("2001:db8::/40", shared_56(0), FOREVER),
        5 => [Dimension::Bytes, Dimension::Syn, Dimension::Udp, Dimension::Icmp]
            .into_iter()
            .fold(gates, |stand, dimension| stand.neighbours(dimension, small(dimension))),
        6 => totals(),
        7 => rich_stand().mode(mode::MONITOR),
        8 => reading_stand().each(Dimension::Packets, small(Dimension::Packets)),
        9 => gates,
        11 => held(),
        12 => rich_stand()
            .service_mode(1, mode::MONITOR)
            .service_mode(2, mode::OFF)
            .class_mode(1, mode::MONITOR),
        10 => gates.list("192.0.2.0/24", listing::ALLOW, 0).live("2001:db8::/32", 0, FOREVER),
        _ => {
            let mut stand = kinds();
            stand.settings.flags |= policy::CLOCK_PER_PACKET;
            stand
        }
    }
}

fn small(dimension: Dimension) -> gateway_common::limit::rate::Limit {
    limit(dimension, 100, if dimension == Dimension::Bytes { 5_000 } else { 10 })
}

fn totals() -> Stand {
    let total = |offer: Offer, dimension| offer.total(dimension, small(dimension));
    Stand::new()
        .serve(total(total(Offer::tls(443), Dimension::Syn), Dimension::Bytes))
        .serve(total(Offer::udp(53), Dimension::Udp))
        .serve(total(Offer::tcp(22), Dimension::Packets))
}

/// Those whom most frames come from are on the block list.
fn blocked() -> Stand {
    Stand::new()
        .list(&format!("{CLIENT}/32"), listing::BLOCK, 0)
        .list(&format!("{CLIENT_V6}/128"), listing::BLOCK, 0)
        .serve(Offer::tls(443))
}

/// They have all the connections that they may have, or a service has.
fn held() -> Stand {
    Stand::new()
        .serve(Offer::tls(443))
        .serve(Offer::tcp(22))
        .serve(Offer::tcp(80))
        .hold(CLIENT, 1, FOREVER)
        .hold("2001:db8::/64", 0, FOREVER)
        .full(2, FOREVER)
}

/// They are banned, and others too, of whom one is never to be.
fn banned() -> Stand {
    Stand::new()
        .ban(CLIENT, FOREVER)
        .ban("2001:db8::/64", FOREVER)
        .ban("192.0.2.50", FOREVER)
        .list("192.0.2.50/32", listing::NEVER, 0)
        .live("203.0.113.0/24", 0, FOREVER)
        .serve(Offer::tls(443))
}

/// Each source has few of each kind: of ICMP, and of others to a service at one address of each family.
fn kinds() -> Stand {
    let few = |kind| limit(kind, 4, 4);
    let there = |offer: Offer, kind| offer.on(SERVER).on(SERVER_V6).own(kind, few(kind));
    let stand = Stand::new()
        .serve(there(Offer::udp(53), Dimension::Udp))
        .serve(there(Offer::tcp(22), Dimension::Syn))
        .serve(there(Offer::tls(443), Dimension::Syn));
    [(Dimension::Syn, 200), (Dimension::Udp, 200), (Dimension::Icmp, 4)]
        .into_iter()
        .fold(stand, |stand, (kind, amount)| stand.each(kind, limit(kind, amount, amount)))
}
