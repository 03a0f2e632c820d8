//! A botnet's flood: many machines, each far above its limit, in equal shares. Time in the program by `BPF_PROG_TEST_RUN`, in which a program of
//! the lab writes the next source into the frame before each turn.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use gateway_common::{
    limit::rate::{Dimension, Limit, Rate},
    tables::TableSizes,
};
use gateway_tests::builder::{Frame, between};
use gateway_tests::cases::Draft as _;
use gateway_tests::kernel::apply;
use gateway_user::host::Stand;
use gateway_user::kernel::{Kernel, Program};
use serde_json::{Value, json};

use crate::{
    spread::Spread,
    subject::{Baseline, spread_out, test_run},
};

/// Frames of a turn, short beside the time for which a machine is of one kind, and of the first ones: what is kept of a flood is there once it
/// has lasted for some ticks.
const FRAMES: u32 = 100_000;
const FRAMES_BEFORE: u32 = 2_000_000;
/// Turns in a round.
const TURNS: usize = 8;
/// Short runs, whose last frames show what becomes of a flood; how long they are, and how many of those frames are to be dropped.
const SHOWN: (u32, u32, u32) = (64, 1_000, 56);
/// One packet a second for each source, two 64-bit words: rate and burst.
const TEXTBOOK: [u32; 4] = [1, 0, 1, 0];
/// What an XDP program returns that drops.
const XDP_DROP: u32 = 1;
/// What the gateway may cost: of the textbook's in the same run, and up to so many machines of one machine's.
const OF_TEXTBOOK: f64 = 0.5;
const OF_ONE: (f64, u32) = (1.5, 512);
/// Only a larger table than the default has room for so many.
const MILLION: u32 = 1 << 20;

/// What the frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ipv4,
    Ipv6,
    Tagged,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Tagged => "IPv4, a VLAN tag",
        }
    }

    /// A frame, where four bytes of its source are that machines differ in, and what they are of the first.
    fn frame(self) -> (Vec<u8>, u32, u32) {
        let datagram = |source: IpAddr, target: IpAddr| -> Frame {
            between(source, target).udp(4_000, 9).payload(&[0; 18])
        };
        let v4 = || datagram([16, 0, 0, 1].into(), [192, 0, 2, 1].into());
        match self {
            Self::Ipv4 => (v4().build(), 26, 0x1000_0000),
            Self::Tagged => (v4().vlan(7).build(), 30, 0x1000_0000),
            Self::Ipv6 => {
                let [source, target] = [[0x2001, 0xdb8, 1, 0, 0, 0, 0, 1], [0x2001, 0xdb8, 2, 0, 0, 0, 0, 1]];
                (datagram(source.into(), target.into()).build(), 26, 0x0001_0000)
            }
        }
    }
}

/// Kinds and numbers of machines.
const ROWS: [(Kind, u32); 12] = [
    (Kind::Ipv4, 1),
    (Kind::Ipv4, 8),
    (Kind::Ipv4, 64),
    (Kind::Ipv4, 512),
    (Kind::Ipv4, 4_096),
    (Kind::Ipv4, 65_536),
    (Kind::Ipv4, MILLION),
    (Kind::Ipv6, 1),
    (Kind::Ipv6, 64),
    (Kind::Ipv6, 512),
    (Kind::Ipv6, 65_536),
    (Kind::Tagged, 64),
];

/// Time in the program for each packet, beside a token bucket in an LRU hash map.
pub(crate) fn measure(rounds: usize) -> Result<Value> {
    println!(
        "Nanoseconds a packet of a botnet, BPF_PROG_TEST_RUN, {rounds} rounds of {TURNS} turns of {FRAMES} frames, net of a bare XDP_DROP behind the same program"
    );
    println!(
        "{:20}{:>10}{:>20}{:>22}{:>20}{:>10}",
        "", "sources", "gateway", "textbook", "of textbook's", "of one's"
    );
    let (mut rows, mut one) = (Vec::new(), 0.0);
    for (kind, count) in ROWS {
        // Each begins with empty tables, in which all of them have room.
        let sources = TableSizes::default().sources.max(count.saturating_mul(4));
        let mut kernel = spread_out(TableSizes { sources, ..TableSizes::default() })?;
        apply(&mut kernel, &policy())?;
        let Row { gateway, textbook, of_textbook } = row(&mut kernel, kind, count, rounds)?;
        if count == 1 {
            one = gateway.median;
        }
        let of_one = gateway.median / one;
        let holds = of_textbook.median <= OF_TEXTBOOK && (count > OF_ONE.1 || of_one <= OF_ONE.0);
        let told = if holds { "holds" } else { "MISSED" };
        println!(
            "{:20}{count:>10}{:>20}{:>22}{:>20}{of_one:>10.2}   {told}",
            kind.name(),
            gateway.text(0),
            textbook.text(0),
            of_textbook.text(2)
        );
        rows.push(json!({
            "kind": kind.name(), "sources": count, "gateway_net_ns": gateway.json(), "textbook_net_ns": textbook.json(),
            "of_textbook": of_textbook.json(), "of_one": of_one,
        }));
    }
    println!(
        "at most {OF_TEXTBOOK} of the textbook's, which knows IPv4 alone, without tags; up to {} sources at most {} of one's\n",
        OF_ONE.1, OF_ONE.0
    );
    Ok(Value::Array(rows))
}

/// Two packets for each source, and then none for minutes. Readings of the clock that are late admit the first alone.
fn policy() -> Stand {
    let rate = Rate { amount: 10, per: 3_600_000_000_000 };
    Stand::new().each(Dimension::Udp, Limit::new(Dimension::Udp, rate, 2).unwrap_or(Limit::NONE))
}

/// What one row came to.
struct Row {
    gateway: Spread,
    textbook: Spread,
    of_textbook: Spread,
}

fn row(kernel: &mut Kernel, kind: Kind, count: u32, rounds: usize) -> Result<Row> {
    let (frame, at, first) = kind.frame();
    let sprayed = |(at, first): (u32, u32)| {
        let constants = [("SOURCE_AT", at), ("SOURCE_FIRST", first), ("SOURCE_COUNT", count)];
        Baseline::with(
            "spray",
            &constants.each_ref().map(|(name, value)| (*name, std::slice::from_ref(value))),
        )
    };
    // The textbook's frames are plain ones.
    let (plain, plain_at, plain_first) = Kind::Ipv4.frame();
    let (mut drop, mut textbook) =
        (Baseline::load("drop")?, Baseline::with("textbook", &[("TEXTBOOK", &TEXTBOOK)])?);
    let mut sprays = [sprayed((at, first))?, sprayed((at, first))?, sprayed((plain_at, plain_first))?];
    sprays[0].go_on(drop.program()?.fd()?)?;
    sprays[1].go_on(kernel.program(Program::Plain)?.fd()?)?;
    sprays[2].go_on(textbook.program()?.fd()?)?;
    let frames = [&frame, &frame, &plain];
    let (mut gateways, mut textbooks, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..=rounds * TURNS {
        let mut net = [0.0; 3];
        for (place, (spray, frame)) in sprays.iter_mut().zip(frames).enumerate() {
            if turn == 0 {
                // All are known, and over their limits.
                test_run(spray.program()?, frame, count.saturating_mul(12).max(FRAMES_BEFORE))?;
            }
            let (nanos, _) = test_run(spray.program()?, frame, FRAMES)?;
            net[place] = nanos - net[0];
        }
        if turn == 0 {
            // Textbook's buckets are full again in a second.
            for (spray, frame) in sprays.iter_mut().zip(frames).take(2) {
                let mut dropped = 0;
                for _ in 0..SHOWN.0 {
                    dropped += u32::from(test_run(spray.program()?, frame, SHOWN.1)?.1 == XDP_DROP);
                }
                ensure!(dropped >= SHOWN.2, "{} {count}: {dropped} of {} dropped", kind.name(), SHOWN.0);
            }
        } else {
            gateways.push(net[1]);
            textbooks.push(net[2]);
            ratios.push(net[1] / net[2]);
        }
    }
    Ok(Row {
        gateway: Spread::of(gateways),
        textbook: Spread::of(textbooks),
        of_textbook: Spread::of(ratios),
    })
}
