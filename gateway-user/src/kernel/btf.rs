//! Where the running kernel keeps the socket fields that the TLS gate reads.
//!
//! One pass over the kernel's BTF (Documentation/bpf/btf.rst) for a few struct members: crates that parse it build every
//! one of its 100,000 types first, which costs more than loading and attaching together.

/// The kernel's description of its own types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u32 = 0xeb9f;
const HEADER: usize = 24;
const TYPE: usize = 12;
const MEMBER: usize = 12;
const KIND_STRUCT: u32 = 4;

/// Offsets in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SocketFields {
    /// `tcp_sock.rcv_nxt`.
    pub(super) rcv_nxt: u32,
    /// `tcp_sock.bytes_received`.
    pub(super) bytes_received: u32,
    /// `tcp_request_sock.rcv_isn`.
    pub(super) rcv_isn: u32,
    /// `tcp_sock.rx_opt.rcv_wscale`: the byte that it is in.
    pub(super) rcv_wscale: u32,
    /// How many bits of that byte lie below it.
    pub(super) rcv_wscale_shift: u32,
}

impl SocketFields {
    /// Reads the offsets from the running kernel, or says why that cannot be.
    pub(super) fn find() -> Result<Self, String> {
        let bytes = std::fs::read(VMLINUX).map_err(|error| format!("cannot read {VMLINUX}: {error}"))?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let btf = Btf::new(bytes).ok_or_else(|| format!("{VMLINUX} is no BTF of this byte order"))?;
        let bits = |structure: &str, field: &str| {
            btf.bits(structure, field).ok_or_else(|| format!("this kernel's BTF has no {structure}.{field}"))
        };
        let offset = |structure: &str, field: &str| bits(structure, field).map(|bits| bits / 8);
        let scale = bits("tcp_sock", "rx_opt")? + bits("tcp_options_received", "rcv_wscale")?;
        Ok(Self {
            rcv_nxt: offset("tcp_sock", "rcv_nxt")?,
            bytes_received: offset("tcp_sock", "bytes_received")?,
            rcv_isn: offset("tcp_request_sock", "rcv_isn")?,
            rcv_wscale: scale / 8,
            rcv_wscale_shift: scale % 8,
        })
    }
}

/// The type and string sections.
struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Btf<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        if word(bytes, 0)? & 0xffff != MAGIC {
            return None;
        }
        let start = word(bytes, 4)? as usize;
        let section = |offset: usize, length: usize| {
            let from = start.max(HEADER) + word(bytes, offset)? as usize;
            bytes.get(from..)?.get(..word(bytes, length)? as usize)
        };
        Some(Self { types: section(8, 12)?, strings: section(16, 20)? })
    }

    /// The offset in bits of a member of a structure.
    fn bits(&self, structure: &str, field: &str) -> Option<u32> {
        let mut at = 0;
        while at + TYPE <= self.types.len() {
            let (name, info) = (word(self.types, at)?, word(self.types, at + 4)?);
            let (kind, members) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            at += TYPE;
            if kind == KIND_STRUCT && self.is_named(name, structure) {
                return (0..members)
                    .map(|member| at + member * MEMBER)
                    .find(|&member| word(self.types, member).is_some_and(|name| self.is_named(name, field)))
                    .and_then(|member| word(self.types, member + 8))
                    // With bit fields in the structure the upper byte is a size.
                    .map(|bits| bits & 0x00ff_ffff);
            }
            at += extra(kind, members)?;
        }
        None
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Bytes that follow a type of this kind; nothing for a kind that is not known.
fn extra(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, section, 64-bit enumeration.
        4 | 5 | 15 | 19 => members * 12,
        // Enumeration, function prototype.
        6 | 13 => members * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}
