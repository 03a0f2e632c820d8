//! `gateway events`: what happens, as lines, as JSON, or as a capture of what is dropped.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    time::Duration,
};

use pcap_file::{
    DataLink,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};

use super::{CliError, args::EventsArgs, render};
use crate::{
    control::{
        client::Client,
        protocol::{Request, Row},
    },
    model::{Dropped, Event, Happened},
};

/// Does it.
pub(super) fn events(client: &Client, args: &EventsArgs) -> Result<(), CliError> {
    let request = Request::Events { filter: args.filter(), follow: args.follow, frames: args.pcap.is_some() };
    let mut output = Output::new(args)?;
    if args.follow {
        let mut failed = None;
        client.follow(&request, |row| match output.take(&row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        return failed.map_or(Ok(()), |error| ended(&error));
    }
    let mut rows = Vec::new();
    client.rows(&request, |row| rows.push(row))?;
    let first = rows.len().saturating_sub(args.limit);
    if rows.is_empty() {
        super::tell(
            "No such events since the gateway began, or among the last that it keeps; `gateway audit query` has the record.\n",
        );
    }
    for row in &rows[first..] {
        if let Err(error) = output.take(row) {
            return ended(&error);
        }
    }
    Ok(())
}

/// That nobody reads on, as with `| head`, is no error.
fn ended(error: &io::Error) -> Result<(), CliError> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(CliError::failed(format!("cannot write the output: {error}")))
}

/// Where events go.
enum Output {
    Text,
    Json,
    Capture(Box<PcapNgWriter<BufWriter<File>>>),
}

impl Output {
    fn new(args: &EventsArgs) -> Result<Self, CliError> {
        match &args.pcap {
            None if args.output.json => Ok(Self::Json),
            None => Ok(Self::Text),
            Some(path) => {
                let capture = File::create(path).map_err(io::Error::other).and_then(capture);
                let capture = capture
                    .map_err(|error| CliError::failed(format!("cannot write {}: {error}", path.display())))?;
                Ok(Self::Capture(Box::new(capture)))
            }
        }
    }

    fn take(&mut self, row: &Row) -> io::Result<()> {
        let Row::Event(event) = row else { return Ok(()) };
        match self {
            Self::Text => line(&render::event(event)),
            Self::Json => line(&serde_json::to_string(event)?),
            Self::Capture(capture) => match &event.what {
                Happened::Drop(dropped) => write(capture, event, dropped),
                _ => Ok(()),
            },
        }
    }
}

fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// The most bytes of a frame that a sample has, with the header that is put before those that have none.
const SNAPLEN: u32 = gateway_common::abi::SAMPLE_HEAD as u32 + ETHERNET as u32;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Digits of a second behind the point.
const NANOSECONDS: u8 = 9;

/// Begins a capture: one link type, one snapshot length and one resolution a file, which all readers take.
fn capture(file: File) -> io::Result<PcapNgWriter<BufWriter<File>>> {
    let mut writer = PcapNgWriter::new(BufWriter::new(file)).map_err(io::Error::other)?;
    let interface = InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: SNAPLEN,
        options: vec![InterfaceDescriptionOption::IfTsResol(NANOSECONDS)],
    };
    writer.write_pcapng_block(interface).map_err(io::Error::other)?;
    Ok(writer)
}

/// Writes a packet with its verdict in a comment of one line.
fn write(capture: &mut PcapNgWriter<BufWriter<File>>, event: &Event, dropped: &Dropped) -> io::Result<()> {
    let Some(head) = event.frame.as_deref().and_then(bytes) else { return Ok(()) };
    let (data, more) = if dropped.ethernet { (head, 0) } else { (with_ethernet(&head), ETHERNET) };
    let service = dropped.service.as_deref().unwrap_or("-");
    let comment = format!(
        "verdict={} reason={} service={service} interface={}",
        dropped.verdict.name(),
        dropped.reason,
        dropped.interface
    );
    let packet = EnhancedPacketBlock {
        interface_id: 0,
        timestamp: Duration::from_millis(event.at),
        original_len: dropped.length + more as u32,
        data: Cow::Owned(data),
        options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
    };
    capture.write_pcapng_block(packet).map_err(io::Error::other)?;
    capture.get_mut().flush()
}

/// A packet of a device without Ethernet as a frame, from nowhere to nowhere.
fn with_ethernet(packet: &[u8]) -> Vec<u8> {
    let ether_type: [u8; 2] =
        if packet.first().is_some_and(|byte| byte >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    [&[0; ETHERNET - 2][..], &ether_type, packet].concat()
}

/// Bytes from hexadecimal digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{capture as begun, *};
    use crate::{model::Outcome, replay::capture};

    #[test]
    fn a_capture_has_frames_of_one_kind_with_their_times_and_lengths() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drops.pcapng");
        let mut output = Output::Capture(Box::new(begun(File::create(&path).unwrap()).unwrap()));
        let dropped = |ethernet| Dropped {
            verdict: Outcome::Drop,
            reason: "not_tls".to_owned(),
            interface: "eth0".to_owned(),
            service: Some("api".to_owned()),
            source: None,
            source_port: None,
            destination: None,
            destination_port: None,
            protocol: None,
            length: 1_000,
            ethernet,
        };
        for (at, ethernet) in [(1_764_551_234_567, true), (1_764_551_234_570, false)] {
            let frame = if ethernet { "020202020202040404040404080045" } else { "45" };
            let event =
                Event { frame: Some(frame.to_owned()), ..Event::new(at, Happened::Drop(dropped(ethernet))) };
            output.take(&Row::Event(Box::new(event))).unwrap();
        }
        let mut seen = Vec::new();
        capture::read(&path, &mut |packet| {
            seen.push((packet.nanos, packet.link, packet.bytes[12..].to_vec(), packet.length));
        })
        .unwrap();
        assert_eq!(
            seen,
            [
                (1_764_551_234_567_000_000, 1, vec![8, 0, 0x45], 1_000),
                (1_764_551_234_570_000_000, 1, vec![8, 0, 0x45], 1_014)
            ]
        );
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(text.contains("verdict=drop reason=not_tls service=api interface=eth0"));
    }
}
