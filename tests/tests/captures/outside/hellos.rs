//! The hellos of real clients, out of captures: the gate's answers agree on every prefix of each.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Result;
use gateway_common::hash::Key;
use gateway_common::packet::{Address, Packet};
use gateway_common::stage::parse;
use gateway_common::wire::hello::{Outcome, Reader, want};
use gateway_common::wire::tls::{PREFIX, Part, Start};
use gateway_tests::captures;
use gateway_user::host::Stand;
use gateway_user::replay::{Replay, capture};

/// The largest hello that anybody was seen to send, and more.
const STREAM_MAX: usize = 16 << 10;
/// Bytes of a segment.
const SEGMENT: usize = 1_400;
/// Streams of at most so many bytes are cut in two at every byte, longer ones at every thirteenth.
const SHORT: usize = 600;
const KEY: Key = Key([3, 5]);
/// A hello that was damaged by hand: it has no compression method (RFC 5246 section 7.4.1.2 wants one at least).
const CONTRADICTS: &str = "tls_invalid_reads.pcap";

/// Addresses and ports of both ends, and where the stream starts.
type Identity = (Address, u16, Address, u16, u32);

/// The first bytes of every stream of a capture whose SYN is in it, as its server's TCP puts them together.
fn streams(path: &Path) -> Vec<Vec<u8>> {
    let mut replay = Replay::new(Stand::new(), Vec::new(), None);
    let mut starts: HashMap<(Address, u16, Address, u16), u32> = HashMap::new();
    let mut segments: HashMap<Identity, BTreeMap<u32, Vec<u8>>> = HashMap::new();
    // What is read of a damaged file counts.
    let _ = capture::read(path, &mut |captured| {
        let Some(judged) = replay.judge(captured) else { return };
        let Some(packet) = parse::packet(&&*judged.ethernet).filter(Packet::is_tcp) else { return };
        let ends = (packet.source, packet.source_port, packet.destination, packet.destination_port);
        if packet.is_syn() {
            starts.insert(ends, packet.sequence.wrapping_add(1));
        }
        let Some(&base) = starts.get(&ends) else { return };
        let place = packet.sequence.wrapping_add(packet.is_syn().into()).wrapping_sub(base);
        let (from, length) = (packet.payload as usize, packet.payload_length as usize);
        let Some(bytes) = judged.ethernet.get(from..from + length) else { return };
        if (place as usize) < STREAM_MAX && length > 1 && !judged.truncated {
            let of = segments.entry((ends.0, ends.1, ends.2, ends.3, base)).or_default();
            of.entry(place).or_insert_with(|| bytes.to_vec());
        }
    });
    segments.into_values().map(assembled).collect()
}

fn assembled(segments: BTreeMap<u32, Vec<u8>>) -> Vec<u8> {
    let mut stream = Vec::new();
    for (place, bytes) in segments {
        let Some(known) = stream.len().checked_sub(place as usize) else { break };
        stream.extend(bytes.get(known..).unwrap_or_default());
    }
    stream.truncate(STREAM_MAX);
    stream
}

/// Whether the gate takes these bytes for the start of a hello.
fn may_be_hello(bytes: &[u8]) -> bool {
    let part = Part { offset: 0, length: bytes.len().min(PREFIX as usize) as u32, position: 0 };
    part.start(&bytes, part.short_record(&bytes, 0), &mut 0, |number| number) == Start::Hello
}

/// A reader that has read the parts.
fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Reader {
    let mut reader = Reader::default();
    reader.start(want::VERSION | want::NAME);
    for part in parts.into_iter().flat_map(|part| part.chunks(SEGMENT)) {
        if reader.outcome != Outcome::Incomplete {
            break;
        }
        let words = reader.to_words();
        reader.resume(words);
        reader.turn_to(0, part.len() as u32, KEY);
        reader.read(&part);
    }
    reader
}

/// What a reader has found out.
fn found(reader: &Reader) -> (Outcome, u64, u64, u8) {
    (reader.outcome, reader.name.0, reader.parent.0, reader.minor)
}

/// What is wrong with the answers to a hello.
fn disagreement(stream: &[u8]) -> Option<String> {
    let whole = read([stream]);
    if let Some(length) = (0..=stream.len()).find(|length| !may_be_hello(&stream[..*length])) {
        return Some(format!("its first {length} bytes are refused"));
    }
    let mut reader = read([]);
    for (length, byte) in stream.iter().enumerate() {
        if reader.outcome == Outcome::Complete {
            break;
        }
        reader.turn_to(0, 1, KEY);
        reader.read(&[*byte].as_slice());
        if !matches!(reader.outcome, Outcome::Incomplete | Outcome::Complete) {
            return Some(format!("{:?} at byte {length}", reader.outcome));
        }
    }
    if found(&reader) != found(&whole) {
        return Some("byte by byte it comes to something else".to_owned());
    }
    let step = if stream.len() > SHORT { 13 } else { 1 };
    let differs = |cut: &usize| found(&read([&stream[..*cut], &stream[*cut..]])) != found(&whole);
    (0..stream.len())
        .step_by(step)
        .find(differs)
        .map(|cut| format!("cut at {cut} it comes to something else"))
}

#[test]
#[ignore = "needs captures of others: GATEWAY_CAPTURES names their folder"]
fn answers_agree_on_every_prefix_of_every_hello() -> Result<()> {
    let folder = captures::folder();
    let (mut hellos, mut complete, mut failures) = (0, 0, Vec::new());
    for (name, truths) in captures::all(&folder)? {
        if !truths.iter().any(|truth| truth.class == "tls_client_hello") {
            continue;
        }
        for stream in streams(&folder.join(&name)).iter().filter(|stream| may_be_hello(stream)) {
            if stream.len() < PREFIX as usize {
                continue;
            }
            hellos += 1;
            complete += u32::from(read([stream.as_slice()]).outcome == Outcome::Complete);
            let wrong = disagreement(stream)
                .filter(|wrong| !(name.ends_with(CONTRADICTS) && wrong.starts_with("BadHello")));
            failures.extend(wrong.map(|wrong| format!("{name}: {wrong}")));
        }
    }
    println!("{hellos} hellos, {complete} of them whole");
    assert!(failures.is_empty(), "{} of {hellos}:\n{}", failures.len(), failures.join("\n"));
    assert!(complete > 300, "only {complete} hellos");
    Ok(())
}
