//! Capture files, written from frames: pcap in both byte orders and precisions, and pcapng.
//!
//! draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng say how they look; link types are in draft-ietf-opsawg-pcaplinktype.

/// The link layers that captures are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet.
    Ethernet,
    /// No link layer: IP of either version.
    Raw,
    /// An address family in the capturing host's byte order (BSD loopback).
    Null,
    /// What Linux shows of "any" interface: 16 bytes.
    LinuxSll,
    /// The same, newer: 20 bytes.
    LinuxSll2,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// pcap, little-endian, microseconds.
    Pcap,
    /// pcap, big-endian, nanoseconds.
    PcapBigNanos,
    /// pcapng, little-endian, microseconds.
    PcapNg,
}

impl Link {
    /// All.
    pub const ALL: [Self; 5] = [Self::Ethernet, Self::Raw, Self::Null, Self::LinuxSll, Self::LinuxSll2];

    const fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::LinuxSll => 113,
            Self::LinuxSll2 => 276,
        }
    }

    /// An Ethernet frame without VLAN tags on this link layer.
    fn of(self, frame: &[u8]) -> Vec<u8> {
        let (ether_type, packet) = (&frame[12..14], &frame[14..]);
        match self {
            Self::Ethernet => frame.to_vec(),
            Self::Raw => packet.to_vec(),
            Self::Null => [&[2, 0, 0, 0], packet].concat(),
            Self::LinuxSll => [&[0; 14][..], ether_type, packet].concat(),
            Self::LinuxSll2 => [ether_type, &[0; 18], packet].concat(),
        }
    }
}

/// Packets, and when they came.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    packets: Vec<(u64, Vec<u8>)>,
    /// So many bytes of each are in the file.
    snaplen: Option<usize>,
}

impl Capture {
    /// An Ethernet frame that came so many microseconds after 1970.
    pub fn push(&mut self, micros: u64, frame: impl Into<Vec<u8>>) {
        self.packets.push((micros, frame.into()));
    }

    /// Has only the first bytes of each packet in the file.
    #[must_use]
    pub fn cut_to(mut self, snaplen: usize) -> Self {
        self.snaplen = Some(snaplen);
        self
    }

    /// Has only the first packets.
    #[must_use]
    pub fn first(mut self, packets: usize) -> Self {
        self.packets.truncate(packets);
        self
    }

    /// How many packets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The file, and where in it each packet ends.
    #[must_use]
    pub fn file(&self, format: Format, link: Link) -> (Vec<u8>, Vec<usize>) {
        let mut file = match format {
            Format::Pcap => {
                Writer::new(false).u32s(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 1 << 18]).u32(link.number().into())
            }
            Format::PcapBigNanos => {
                Writer::new(true).u32s(&[0xa1b2_3c4d, 0x0002_0004, 0, 0, 1 << 18]).u32(link.number().into())
            }
            Format::PcapNg => Writer::new(false)
                .block(0x0a0d_0d0a, |section| section.u32s(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]))
                .block(1, |interface| interface.u32s(&[link.number().into(), 1 << 18])),
        };
        let mut ends = Vec::new();
        for (micros, frame) in &self.packets {
            let bytes = link.of(frame);
            let captured = &bytes[..bytes.len().min(self.snaplen.unwrap_or(usize::MAX))];
            let lengths = [captured.len() as u32, bytes.len() as u32];
            let (seconds, part) = ((micros / 1_000_000) as u32, (micros % 1_000_000) as u32);
            file = match format {
                Format::Pcap => file.u32s(&[seconds, part]).u32s(&lengths).bytes(captured),
                Format::PcapBigNanos => file.u32s(&[seconds, part * 1_000]).u32s(&lengths).bytes(captured),
                Format::PcapNg => file.block(6, |block| {
                    block.u32s(&[0, (micros >> 32) as u32, *micros as u32]).u32s(&lengths).bytes(captured)
                }),
            };
            ends.push(file.file.len());
        }
        (file.file, ends)
    }
}

/// A file to be, in a byte order.
struct Writer {
    file: Vec<u8>,
    is_big: bool,
}

impl Writer {
    const fn new(is_big: bool) -> Self {
        Self { file: Vec::new(), is_big }
    }

    fn u32(mut self, value: u32) -> Self {
        self.file.extend(if self.is_big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    fn u32s(self, values: &[u32]) -> Self {
        values.iter().fold(self, |file, &value| file.u32(value))
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.file.extend(bytes);
        self
    }

    /// A block of pcapng: its length stands before and behind it, and it is filled up to words.
    fn block(self, kind: u32, body: impl FnOnce(Self) -> Self) -> Self {
        let mut body = body(Self::new(self.is_big)).file;
        body.resize(body.len().next_multiple_of(4), 0);
        let length = body.len() as u32 + 12;
        self.u32(kind).u32(length).bytes(&body).u32(length)
    }
}
