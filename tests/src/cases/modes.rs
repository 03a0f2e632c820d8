//! Enforce, monitor, off, and before the first policy.

use gateway_common::{
    abi::{FOREVER, mode},
    limit::rate::Dimension,
    packet::flags,
    verdict::Reason,
};
use gateway_user::host::Stand;

use super::frames::{CLIENT, HTTP, PORT, SERVER, ack, data, datagram, ping, syn};
use super::{Case, Draft, Offer, limit};
use crate::builder;

pub(super) fn cases() -> Vec<Case> {
    let strict = |mode| {
        Stand::new().mode(mode).each(Dimension::Udp, limit(Dimension::Udp, 1, 1)).serve(Offer::tls(443))
    };
    let judged = |name: &str, mode| {
        Case::under(name, strict(mode))
            .gets(ack().truncate(20), Reason::Ipv4Malformed)
            .gets(syn().flags(0), Reason::TcpFlags)
            .gets(datagram(), Reason::Ok)
            .gets(datagram(), Reason::LimitUdp)
            .gets(data(HTTP), Reason::PlaintextHttp)
            .gets(ping(), Reason::Ok)
            .gets(builder::ethernet(0x0806, &[0; 46]), Reason::NonIp)
    };
    let passed = |name: &str, stand, reason| {
        Case::under(name, stand)
            .gets(ack().truncate(20), reason)
            .gets(data(HTTP), reason)
            .times(3, datagram(), reason)
            .gets(builder::ethernet(0x0806, &[0; 46]), reason)
    };
    let elsewhere =
        builder::ip(CLIENT, SERVER).tcp(PORT, 444).flags(flags::ACK | flags::PSH).seq(1_001).payload(HTTP);
    let mut unconfigured = strict(mode::ENFORCE);
    unconfigured.settings.generation = 0;
    vec![
        judged("enforce drops", mode::ENFORCE),
        judged("monitor says what it would drop", mode::MONITOR),
        passed("off passes all", strict(mode::OFF).live("192.0.2.0/24", 0, FOREVER), Reason::Off),
        passed("without a policy all passes", unconfigured, Reason::Unconfigured),
        Case::under(
            "monitor says whom it would ban",
            Stand::new().mode(mode::MONITOR).live("192.0.2.0/24", 0, FOREVER),
        )
        .gets(datagram(), Reason::Banned),
        Case::under(
            "a service in monitor mode drops nothing, and others do",
            strict(mode::ENFORCE).serve(Offer::tls(444)).service_mode(1, mode::MONITOR),
        )
        .spares(data(HTTP), Reason::PlaintextHttp)
        .gets(elsewhere, Reason::PlaintextHttp)
        .gets(syn().flags(0), Reason::TcpFlags)
        .gets(datagram(), Reason::Ok)
        .gets(datagram(), Reason::LimitUdp),
        Case::under(
            "a service that is off is not judged",
            strict(mode::ENFORCE).service_mode(1, mode::OFF).live("192.0.3.0/24", 0, FOREVER),
        )
        .gets(data(HTTP), Reason::Off)
        .gets(ack().truncate(20), Reason::Ipv4Malformed),
        Case::under(
            "no service is stricter than the gateway",
            strict(mode::MONITOR).service_mode(1, mode::ENFORCE),
        )
        .gets(data(HTTP), Reason::PlaintextHttp),
        Case::under(
            "a class in monitor mode is dropped nowhere",
            strict(mode::ENFORCE)
                .list("192.0.2.0/24", 0, 1)
                .class(1, Dimension::Udp, limit(Dimension::Udp, 1, 1))
                .class_mode(1, mode::MONITOR),
        )
        .gets(datagram(), Reason::Ok)
        .spares(datagram(), Reason::LimitUdp)
        .spares(data(HTTP), Reason::PlaintextHttp),
        Case::under(
            "the most lenient mode holds",
            strict(mode::ENFORCE)
                .list("192.0.2.0/24", 0, 1)
                .class_mode(1, mode::OFF)
                .service_mode(1, mode::MONITOR),
        )
        .times(3, datagram(), Reason::Off)
        .gets(data(HTTP), Reason::Off),
    ]
}
