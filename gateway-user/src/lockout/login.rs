//! Whether a session could be opened again: a login is played to the packet path on the host.

use std::net::IpAddr;

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};
use gateway_common::{
    limit::rate::SECOND,
    verdict::{Action, Reason},
};

use crate::{
    host::{Cpu, HostEnv, Stand},
    model::Session,
};

/// The client's port: one that clients take.
const CLIENT_PORT: u16 = 50_022;
const HARDWARE: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const HOPS: u8 = 64;
const WINDOW: u16 = 64_240;
const FIRST: u32 = 1_000;
/// What a client of SSH says first (RFC 4253, section 4.2).
const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";
/// Bytes of the packets that follow: the key exchange, the keys, the terminal. A login takes some twenty, within a second.
const LOGIN: [usize; 20] =
    [1_400, 136, 48, 16, 44, 60, 60, 500, 148, 112, 52, 40, 36, 36, 36, 36, 36, 36, 36, 36];
/// Then somebody types: so many packets, one each tenth of a second.
const TYPED: usize = 50;
const A_KEY: usize = 36;

/// Why the packets of a login would be dropped, if most of it would be; `server` is where it goes to.
///
/// A packet that is dropped is sent again, so a few do no harm; without its first two nothing begins.
pub fn is_cut(stand: Stand, session: &Session, server: IpAddr) -> Option<Reason> {
    let env = HostEnv::new(stand);
    let mut cpu = Cpu::default();
    // Tables know nothing of before.
    let mut now = SECOND;
    let mut dropped = |frame: Vec<u8>, after: u64| {
        now += after;
        env.set_now(now);
        let verdict = env.judge_on(&frame, &mut cpu);
        (verdict.action == Action::Drop).then_some(verdict.reason)
    };
    let tcp =
        |sequence: u32| Some(ip(session.client, server)?.tcp(CLIENT_PORT, session.port, sequence, WINDOW));
    let syn = frame(tcp(FIRST)?.syn(), &[]);
    let mut sequence = FIRST + 1;
    let mut data = |bytes: &[u8]| {
        let data = tcp(sequence).map(|tcp| frame(tcp.ack(FIRST), bytes));
        sequence += bytes.len() as u32;
        data.unwrap_or_default()
    };
    let (ack, banner) = (data(&[]), data(BANNER));
    let begins =
        dropped(syn, 0).or_else(|| dropped(ack, SECOND / 100)).or_else(|| dropped(banner, SECOND / 100));
    if begins.is_some() {
        return begins;
    }
    let login = LOGIN.map(|bytes| (bytes, SECOND / 50));
    let rest = login.into_iter().chain([(A_KEY, SECOND / 10); TYPED]);
    let reasons: Vec<Reason> =
        rest.filter_map(|(bytes, after)| dropped(data(&vec![0; bytes]), after)).collect();
    reasons.last().copied().filter(|_| reasons.len() > (LOGIN.len() + TYPED) / 4)
}

fn ip(client: IpAddr, server: IpAddr) -> Option<PacketBuilderStep<etherparse::IpHeaders>> {
    let ethernet = PacketBuilder::ethernet2(HARDWARE[0], HARDWARE[1]);
    match (client, server) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            Some(ethernet.ipv4(client.octets(), server.octets(), HOPS))
        }
        (IpAddr::V6(client), IpAddr::V6(server)) => {
            Some(ethernet.ipv6(client.octets(), server.octets(), HOPS))
        }
        _ => None,
    }
}

fn frame(tcp: PacketBuilderStep<TcpHeader>, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tcp.size(data.len()));
    // A vector takes all, and no packet is too long.
    let _ = tcp.write(&mut bytes, data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, replay};

    fn cut_by(text: &str) -> Option<Reason> {
        let config = Config::parse("gateway.toml", text).unwrap();
        let (stand, _) = replay::stand(&config, crate::host::Sets::default()).unwrap();
        let session = Session { client: "203.0.113.2".parse().unwrap(), server: None, port: 22, user: None };
        is_cut(stand, &session, "192.0.2.1".parse().unwrap())
    }

    #[test]
    fn a_login_is_cut_by_what_drops_most_of_it() {
        for (text, expected) in [
            ("", None),
            ("[limits]\npackets = { rate = \"100/s\" }", None),
            ("[limits]\npackets = { rate = \"1/s\" }", Some(Reason::LimitPackets)),
            ("[limits]\nsyn = { rate = \"1/s\" }", None),
            ("[lists]\nblock = [\"203.0.113.0/24\"]", Some(Reason::BlockListed)),
            ("[lists]\nblock = [\"203.0.113.0/24\"]\nallow = [\"203.0.113.2\"]", None),
            ("[lists]\nblock = [\"198.51.100.0/24\"]", None),
            (
                "[[service]]\nname = \"x\"\nprotocol = \"tcp\"\nports = [22]\nrequire = \"tls\"",
                Some(Reason::NotTls),
            ),
            ("[[service]]\nname = \"x\"\nprotocol = \"tcp\"\nports = [443]\nrequire = \"tls\"", None),
        ] {
            assert_eq!(cut_by(text), expected, "{text}");
        }
    }
}
