//! Packets out of capture files: pcap in both byte orders and precisions, pcapng, either of them compressed by gzip.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError, create_reader,
    traits::{PcapNGPacketBlock as _, PcapReaderIterator},
};
use thiserror::Error;

/// What the reader starts with; most captures have no larger packet.
const BUFFER: usize = 1 << 18;
/// No packet or block is larger; what claims to be is damage.
const BLOCK_MAX: usize = 64 << 20;
/// How gzip files start (RFC 1952 section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a capture was not read to its end.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("cannot read it: {0}")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("this is no pcap or pcapng file")]
    NoCapture,
    /// It ends in the middle of something.
    #[error("the file ends in the middle of a packet, after {packets} packets and byte {byte}")]
    CutShort {
        /// Packets read before.
        packets: u64,
        /// Where in the file, or in what it decompresses to, the last good block ends.
        byte: usize,
    },
    /// Something in it makes no sense.
    #[error("the file is damaged at byte {byte}, after {packets} packets")]
    Damaged {
        /// Packets read before.
        packets: u64,
        /// Where the last good block ends.
        byte: usize,
    },
}

/// One packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    /// From 1, as Wireshark counts.
    pub number: u64,
    /// When it was captured: nanoseconds since 1970.
    pub nanos: u64,
    /// Number of its link layer, from the registry of link types (draft-ietf-opsawg-pcaplinktype).
    pub link: i32,
    /// What was captured of it.
    pub bytes: &'a [u8],
    /// How long it was.
    pub length: u32,
}

/// An interface of a pcapng section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: i32,
    snaplen: u32,
    units_per_second: u64,
    offset_seconds: i64,
}

/// Shows every packet of a file to `show`.
///
/// # Errors
/// Where the file cannot be read to its end; all packets before were shown.
pub fn read(path: &Path, show: &mut dyn FnMut(&Captured<'_>)) -> Result<(), CaptureError> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP) {
        return read_from(MultiGzDecoder::new(file), show);
    }
    read_from(file, show)
}

/// The same for what is already open.
///
/// # Errors
/// As [`read`].
pub fn read_from(input: impl Read + Send, show: &mut dyn FnMut(&Captured<'_>)) -> Result<(), CaptureError> {
    let mut reader = create_reader(BUFFER, Whole(input)).map_err(|error| match error {
        PcapError::ReadError => CaptureError::Damaged { packets: 0, byte: 0 },
        _ => CaptureError::NoCapture,
    })?;
    let mut state = State::default();
    let mut capacity = BUFFER;
    loop {
        let byte = reader.consumed();
        let packets = state.packets;
        let cut_short = || CaptureError::CutShort { packets, byte };
        match reader.next() {
            Ok((consumed, block)) => {
                if !state.block(&block, show) {
                    return Err(CaptureError::Damaged { packets, byte });
                }
                reader.consume(consumed);
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() {
                    return Err(cut_short());
                }
                refill(reader.as_mut(), &mut capacity).ok_or_else(cut_short)?;
            }
            Err(PcapError::BufferTooSmall) => {
                refill(reader.as_mut(), &mut capacity).ok_or_else(cut_short)?;
            }
            Err(PcapError::UnexpectedEof) => return Err(cut_short()),
            Err(_) => return Err(CaptureError::Damaged { packets, byte }),
        }
    }
}

/// Reads more, into a larger buffer where the block does not fit. Nothing where it cannot.
fn refill(reader: &mut dyn PcapReaderIterator, capacity: &mut usize) -> Option<()> {
    if reader.refill().is_ok() {
        return Some(());
    }
    *capacity = capacity.checked_mul(2).filter(|capacity| *capacity <= BLOCK_MAX)?;
    (reader.grow(*capacity) && reader.refill().is_ok()).then_some(())
}

/// What blocks before say of those that follow.
#[derive(Debug, Default)]
struct State {
    packets: u64,
    interfaces: Vec<Interface>,
}

impl State {
    /// Takes in a block; false: it makes no sense.
    fn block(&mut self, block: &PcapBlockOwned<'_>, show: &mut dyn FnMut(&Captured<'_>)) -> bool {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let nanoseconds = header.is_nanosecond_precision();
                self.interfaces = vec![Interface {
                    link: link_number(header.network),
                    snaplen: header.snaplen,
                    units_per_second: if nanoseconds { 1_000_000_000 } else { 1_000_000 },
                    offset_seconds: 0,
                }];
                true
            }
            PcapBlockOwned::Legacy(packet) => {
                let Some(interface) = self.interfaces.first().copied() else { return false };
                let units = u64::from(packet.ts_sec)
                    .saturating_mul(interface.units_per_second)
                    .saturating_add(u64::from(packet.ts_usec));
                self.show(interface, units, packet.data, packet.origlen, show);
                true
            }
            PcapBlockOwned::NG(block) => self.next_generation(block, show),
        }
    }

    fn next_generation(&mut self, block: &Block<'_>, show: &mut dyn FnMut(&Captured<'_>)) -> bool {
        match block {
            Block::SectionHeader(_) => self.interfaces.clear(),
            Block::InterfaceDescription(interface) => self.interfaces.push(Interface {
                link: link_number(interface.linktype),
                snaplen: interface.snaplen,
                units_per_second: interface.ts_resolution().unwrap_or(1_000_000).max(1),
                offset_seconds: interface.ts_offset(),
            }),
            Block::EnhancedPacket(packet) => {
                let Some(interface) = self.interfaces.get(packet.if_id as usize).copied() else {
                    return false;
                };
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                self.show(interface, units, packet.packet_data(), packet.origlen, show);
            }
            Block::SimplePacket(packet) => {
                let Some(interface) = self.interfaces.first().copied() else { return false };
                let captured = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
                let length = packet.origlen.min(captured) as usize;
                let bytes = packet.data.get(..length).unwrap_or(packet.data);
                self.show(interface, 0, bytes, packet.origlen, show);
            }
            _ => {}
        }
        true
    }

    fn show(
        &mut self,
        interface: Interface,
        units: u64,
        bytes: &[u8],
        length: u32,
        show: &mut dyn FnMut(&Captured<'_>),
    ) {
        self.packets += 1;
        show(&Captured {
            number: self.packets,
            nanos: interface.nanos(units),
            link: interface.link,
            bytes,
            length: length.max(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        });
    }
}

impl Interface {
    /// A time stamp in nanoseconds since 1970; before that: 0.
    fn nanos(&self, units: u64) -> u64 {
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(self.units_per_second);
        let offset = i128::from(self.offset_seconds) * 1_000_000_000;
        u64::try_from((nanos as i128).saturating_add(offset).max(0)).unwrap_or(u64::MAX)
    }
}

fn link_number(link: Linktype) -> i32 {
    // The upper half of the field of old pcap files holds flags.
    link.0 & 0xffff
}

/// Fills what it is given as far as it can: short reads would look like a cut header to the parser.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // What came before the damage is shown first.
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
