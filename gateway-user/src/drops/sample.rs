//! A sample from the kernel, read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gateway_common::{
    abi::Sample,
    packet::{Address, Packet},
    stage::parse,
    verdict::{Action, Reason},
};

use super::Key;
use crate::{link_layer, model::Dropped};

/// Numbers of link types: Ethernet, and IP alone (draft-ietf-opsawg-pcaplinktype).
const ETHERNET: i32 = 1;
const RAW: i32 = 101;

/// The packet of a sample; nothing where it is none that this build of the program has written. `interface` and `service` are names.
pub fn dropped(sample: &Sample, interface: &str, service: Option<&str>) -> Option<Dropped> {
    let verdict = *Action::ALL.get(usize::from(sample.action))?;
    let reason = Reason::ALL.get(usize::from(sample.reason))?;
    let head = sample.head.get(..sample.captured as usize)?;
    let link = if sample.bare == 0 { ETHERNET } else { RAW };
    let frame = link_layer::ethernet(link, head, sample.length);
    let packet = frame.and_then(|frame| parse::packet(&&*frame));
    let ports = packet.filter(|packet| packet.is_tcp() || packet.is_udp());
    Some(Dropped {
        verdict,
        reason: reason.name().to_owned(),
        interface: interface.to_owned(),
        service: service.map(str::to_owned),
        source: packet.map(|packet| address(&packet, packet.source)),
        source_port: ports.map(|packet| packet.source_port),
        destination: packet.map(|packet| address(&packet, packet.destination)),
        destination_port: ports.map(|packet| packet.destination_port),
        protocol: packet.map(|packet| protocol(&packet)),
        length: sample.length,
        ethernet: sample.bare == 0,
    })
}

/// Where the drop of a sample is counted; nothing where it is none of this build.
pub fn key(sample: &Sample, service: Option<&str>) -> Option<Key> {
    let verdict = *Action::ALL.get(usize::from(sample.action))?;
    let reason = Reason::ALL.get(usize::from(sample.reason))?;
    let service = service.filter(|_| reason.is_of_service()).map(str::to_owned);
    Some(Key { service, verdict, reason: reason.name() })
}

fn address(packet: &Packet, address: Address) -> IpAddr {
    if packet.ipv6 {
        Ipv6Addr::from_bits(u128::from(address.high) << 64 | u128::from(address.low)).into()
    } else {
        Ipv4Addr::from_bits(address.as_v4()).into()
    }
}

fn protocol(packet: &Packet) -> String {
    match packet {
        _ if packet.is_tcp() => "tcp".to_owned(),
        _ if packet.is_udp() => "udp".to_owned(),
        Packet { ipv6: true, .. } if packet.is_icmp() => "icmpv6".to_owned(),
        _ if packet.is_icmp() => "icmp".to_owned(),
        Packet { protocol, .. } => protocol.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use gateway_common::abi::SAMPLE_HEAD;

    use super::*;

    fn sample(bare: u8) -> Sample {
        let mut ip = vec![0x45, 0, 0x05, 0xdc, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 9, 203, 0, 113, 1];
        ip.extend([0x12, 0x67, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18]);
        let mut frame = if bare == 0 { [&[2; 12][..], &[8, 0]].concat() } else { Vec::new() };
        frame.extend(ip);
        let length = if bare == 0 { 1_514 } else { 1_500 };
        frame.resize(SAMPLE_HEAD, 0);
        let reason = Reason::ALL.iter().position(|reason| reason.name() == "plaintext_http").unwrap();
        Sample {
            at: 0,
            length,
            captured: SAMPLE_HEAD as u32,
            service: 1,
            interface: 0,
            action: 1,
            reason: reason as u8,
            bare,
            unused: 0,
            head: frame.try_into().unwrap(),
        }
    }

    #[test]
    fn the_first_bytes_of_a_long_packet_say_what_it_is() {
        for bare in [0, 1] {
            let dropped = dropped(&sample(bare), "eth0", Some("api")).unwrap();
            assert_eq!(
                dropped.to_string(),
                format!(
                    "plaintext_http: 192.0.2.9:4711 → 203.0.113.1:443 tcp, {} bytes, api, eth0",
                    if bare == 0 { 1_514 } else { 1_500 }
                )
            );
        }
    }

    #[test]
    fn what_no_build_has_written_is_nothing() {
        assert!(dropped(&Sample { reason: 127, ..sample(0) }, "eth0", None).is_none());
        assert!(dropped(&Sample { captured: 129, ..sample(0) }, "eth0", None).is_none());
        let cut = dropped(&Sample { captured: 7, length: 7, ..sample(0) }, "eth0", None).unwrap();
        assert_eq!(cut.to_string(), "plaintext_http: a frame that is not understood, 7 bytes, eth0");
    }
}
