//! The QUIC gate.

use std::time::Duration;

use gateway_common::{limit::rate::Dimension, verdict::Reason};
use gateway_user::host::{Sets, Stand};

use super::frames::v4;
use super::{CLIENT_V6, Case, Draft, Offer, SERVER_V6, limit};
use crate::builder::{
    Frame, ip,
    quic::{V1, V2, early, handshake, initial, long, short},
};

/// Limits of the service, for each source and for all.
const INITIAL: u64 = 4;
const MIGRATION: u64 = 2;
const ALL_INITIALS: u64 = 6;
const ALL_MIGRATIONS: u64 = 3;

fn service() -> Stand {
    let one = |dimension, burst| limit(dimension, 1, burst);
    Stand::new().serve(
        Offer::quic(443)
            .own(Dimension::Initial, one(Dimension::Initial, INITIAL))
            .own(Dimension::Migration, one(Dimension::Migration, MIGRATION))
            .total(Dimension::Initial, one(Dimension::Initial, ALL_INITIALS))
            .total(Dimension::Migration, one(Dimension::Migration, ALL_MIGRATIONS)),
    )
}

/// An Initial with another connection ID.
fn with_id(id: u8) -> Vec<u8> {
    let mut datagram = initial(V1, 1_200);
    datagram[13] = id;
    datagram
}

fn gated(name: &str) -> Case {
    Case::under(name, service())
}

fn from(port: u16, datagram: &[u8]) -> Frame {
    v4().udp(port, 443).payload(datagram)
}

fn of(host: u8, datagram: &[u8]) -> Frame {
    ip(&format!("192.0.2.{host}"), super::SERVER).udp(5_000, 443).payload(datagram)
}

pub(super) fn cases() -> Vec<Case> {
    [openings(), goings_on(), budgets(), vec![full()]].concat()
}

fn openings() -> Vec<Case> {
    let whole = initial(V1, 1_200);
    vec![
        gated("QUIC: an Initial of version 1").gets(from(1, &whole), Reason::Ok),
        gated("QUIC: an Initial of version 2").gets(from(1, &initial(V2, 1_200)), Reason::Ok),
        gated("QUIC: an Initial over IPv6")
            .gets(ip(CLIENT_V6, SERVER_V6).udp(1, 443).payload(&whole), Reason::Ok)
            .gets(ip(CLIENT_V6, SERVER_V6).udp(1, 443).payload(&handshake()), Reason::Ok),
        gated("QUIC: a short Initial").gets(from(1, &initial(V1, 1_199)), Reason::QuicInitialSize),
        gated("QUIC: an Initial cut by its datagram").gets(from(1, &whole[..17]), Reason::QuicInitialSize),
        gated("QUIC: an unknown version")
            .gets(from(1, &long(0xc0, 0x0a1a_2a3a, &[], 1_200)), Reason::Ok)
            .gets(from(2, &long(0xc0, 0x0a1a_2a3a, &[], 1_199)), Reason::QuicVersion)
            .gets(from(3, &long(0xc0, 0, &[], 1_200)), Reason::QuicVersion),
        gated("QUIC: something else")
            .gets(from(1, b"GET / HTTP/1.1\r\n\r\n"), Reason::QuicMalformed)
            .gets(from(1, b""), Reason::QuicMalformed)
            .gets(from(1, &[0; 1_200]), Reason::QuicMalformed),
        gated("QUIC: a retry from a client")
            .gets(from(1, &long(0xf0, V1, &[], 1_200)), Reason::QuicMalformed),
        gated("QUIC: a fragment").gets(from(1, &whole).fragment(0, true), Reason::GatedFragment),
    ]
}

fn goings_on() -> Vec<Case> {
    let whole = initial(V1, 1_200);
    vec![
        gated("QUIC: a handshake")
            .gets(from(1, &handshake()), Reason::QuicNoInitial)
            .gets(from(1, &early()), Reason::QuicNoInitial)
            .gets(from(1, &whole), Reason::Ok)
            .gets(from(1, &early()), Reason::Ok)
            .gets(from(1, &handshake()), Reason::Ok)
            .times(10, from(1, &short(60)), Reason::Ok)
            .gets(from(1, &short(20)), Reason::QuicMalformed),
        gated("QUIC: who is dropped has opened nothing")
            .gets(from(1, &initial(V1, 1_000)), Reason::QuicInitialSize)
            .gets(from(1, &handshake()), Reason::QuicNoInitial),
        gated("QUIC: another port has opened nothing")
            .gets(from(1, &whole), Reason::Ok)
            .gets(from(2, &handshake()), Reason::QuicNoInitial),
        gated("QUIC: idle for an hour")
            .gets(from(1, &whole), Reason::Ok)
            .after(Duration::from_secs(3_600))
            .times(5, from(1, &short(60)), Reason::Ok),
        Case::under("QUIC: TCP has opened nothing", service().serve(Offer::tls(443)))
            .gets(v4().tcp(1, 443).seq(1).payload(&crate::cases::frames::a_hello()), Reason::Ok)
            .gets(from(1, &handshake()), Reason::QuicNoInitial),
    ]
}

fn budgets() -> Vec<Case> {
    let whole = initial(V1, 1_200);
    vec![
        gated("QUIC: Initials have a budget of their own")
            .times(INITIAL as usize, from(1, &whole), Reason::Ok)
            .gets(from(1, &whole), Reason::LimitInitial)
            .gets(from(2, &whole), Reason::LimitInitial)
            .times(5, from(1, &short(60)), Reason::Ok),
        // It is the ID that opens a connection: a port that is known may open any number.
        (2..=INITIAL as u8)
            .fold(
                gated("QUIC: Initials of a known port, each with an ID of its own")
                    .gets(from(1, &whole), Reason::Ok)
                    .gets(from(1, &handshake()), Reason::Ok),
                |case, id| case.gets(from(1, &with_id(id)), Reason::Ok),
            )
            .gets(from(1, &with_id(9)), Reason::LimitInitial)
            .gets(from(1, &handshake()), Reason::Ok)
            .after(Duration::from_secs(2))
            .times(2, from(1, &with_id(9)), Reason::Ok)
            .gets(from(1, &with_id(9)), Reason::LimitInitial),
        gated("QUIC: all sources' Initials, from few ports")
            .times(3, of(1, &whole), Reason::Ok)
            .times(3, of(2, &with_id(7)), Reason::Ok)
            .gets(of(1, &with_id(8)), Reason::TotalInitial)
            .gets(of(1, &handshake()), Reason::Ok),
        gated("QUIC: all sources' Initials")
            .times(3, of(1, &whole), Reason::Ok)
            .times(3, of(2, &whole), Reason::Ok)
            .gets(of(3, &whole), Reason::TotalInitial),
        gated("QUIC: an address that changes")
            .gets(from(1, &short(60)), Reason::Ok)
            .times(5, from(1, &short(60)), Reason::Ok)
            .gets(from(2, &short(60)), Reason::Ok)
            .gets(from(3, &short(60)), Reason::LimitMigration)
            .gets(from(3, &whole), Reason::Ok)
            .gets(from(3, &short(60)), Reason::Ok),
        gated("QUIC: all addresses that change")
            .gets(of(1, &short(60)), Reason::Ok)
            .gets(of(2, &short(60)), Reason::Ok)
            .gets(of(3, &short(60)), Reason::Ok)
            .gets(of(4, &short(60)), Reason::TotalMigration),
        Case::under(
            "QUIC: no limit of sources counts openings",
            service().each(Dimension::Syn, limit(Dimension::Syn, 1, 1)),
        )
        .times(INITIAL as usize, from(1, &whole), Reason::Ok),
    ]
}

/// A table of four tuples: who has gone on for a while is not pushed out by Initials.
fn full() -> Case {
    let stand = Stand { sets: Sets { tuples: 1, ..Sets::default() }, ..Stand::new().serve(Offer::quic(443)) };
    let no_migration = limit(Dimension::Migration, 1, 1);
    let mut stand = stand;
    stand.settings.services[1].limits.each[Dimension::Migration as usize] = no_migration;
    stand.settings.services[1].own = gateway_common::limit::rate::bit(Dimension::Migration);
    let whole = initial(V1, 1_200);
    let case = Case::under("QUIC: a flood of Initials, and who went on before", stand);
    let case = case
        .gets(from(1, &whole), Reason::Ok)
        .after(Duration::from_secs(3))
        .gets(from(1, &short(60)), Reason::Ok);
    (2..40)
        .fold(case, |case, port| case.gets(from(port, &whole), Reason::Ok))
        .gets(from(1, &handshake()), Reason::Ok)
}
