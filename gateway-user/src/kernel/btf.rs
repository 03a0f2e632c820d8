//! Where the running kernel keeps the socket fields that the TLS gate reads.
//!
//! One pass over the kernel's BTF (Documentation/bpf/btf.rst) for a few struct members: crates that parse it build every
//! one of its 100,000 types first, which costs more than loading and attaching together.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The kernel's description of its own types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What to do where they are not to be had.
pub const REMEDY: &str = "boot a kernel that describes its types (CONFIG_DEBUG_INFO_BTF=y, as distributions build it), or, where it \
                          does and only hides them, name them with --btf or attach.btf";

/// What the gateway goes without where it cannot ask the host's sockets: a word for programs, and what that means.
pub const NEEDS_SOCKETS: [(&str, &str); 8] = [
    ("syn_cookies", "no SYN cookie answers: a service's SYN budget alone holds a flood"),
    ("out_of_state", "packets that belong to no connection are held by limits alone"),
    ("refuse", "connections that are refused stay open until the server gives them up"),
    ("strikes", "no strikes are counted, so nobody is banned for them"),
    ("reflection", "answers and ICMP errors that nobody here asked for are held by limits alone"),
    ("own_traffic", "downloads of this host are held to the limits of their sources"),
    ("known_clients", "of a service's total nothing is kept for who has connected before"),
    (
        "tls_gate",
        "the TLS gate goes by the SYN that it saw, as for connections that pass through: best effort",
    ),
];

const MAGIC: u32 = 0xeb9f;
const HEADER: usize = 24;
const TYPE: usize = 12;
const MEMBER: usize = 12;
const KIND_STRUCT: u32 = 4;
/// No kernel's types take more: those of distributions take 5 to 10 MiB.
const LONGEST: u64 = 256 << 20;

/// Why a description of the kernel's types is no good.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is something else.
    #[error("{} is no BTF: {what}", path.display())]
    NoBtf {
        /// The file.
        path: PathBuf,
        /// What is there instead, and what to do.
        what: &'static str,
    },
    /// It does not have what is looked for.
    #[error("{} has no {field}; it must describe all types of this kernel, as /sys/kernel/btf/vmlinux does", path.display())]
    NoField {
        /// The file.
        path: PathBuf,
        /// Structure and member.
        field: String,
    },
    /// The kernel says something else of itself.
    #[error(
        "{} is of another kernel: its socket fields lie elsewhere than {VMLINUX} says; leave it out, this kernel describes itself",
        path.display()
    )]
    OtherKernel {
        /// The file.
        path: PathBuf,
    },
}

/// Offsets in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SocketFields {
    /// `tcp_sock.rcv_nxt`.
    pub(super) rcv_nxt: u32,
    /// `tcp_sock.rcv_wnd`.
    pub(super) rcv_wnd: u32,
    /// `tcp_sock.bytes_received`.
    pub(super) bytes_received: u32,
    /// `tcp_request_sock.rcv_isn`.
    pub(super) rcv_isn: u32,
    /// `tcp_sock.rx_opt.rcv_wscale`: the byte that it is in.
    pub(super) rcv_wscale: u32,
    /// How many bits of that byte lie below it.
    pub(super) rcv_wscale_shift: u32,
    /// `tcp_sock.snd_una`.
    pub(super) snd_una: u32,
    /// `tcp_sock.snd_nxt`.
    pub(super) snd_nxt: u32,
    /// `tcp_sock.rx_opt.ts_recent`.
    pub(super) ts_recent: u32,
    /// `tcp_request_sock.snt_isn`.
    pub(super) snt_isn: u32,
    /// `tcp_request_sock.req.req.ts_recent`: both structures begin with the one in them.
    pub(super) request_ts_recent: u32,
}

impl SocketFields {
    /// Reads the offsets from a file, or from the running kernel, or says why that cannot be. A file that says something else
    /// than the kernel is refused: at a wrong offset the verifier may find a field of the same size.
    pub(super) fn find(file: Option<&Path>) -> Result<Self, BtfError> {
        let Some(file) = file else { return Self::read(Path::new(VMLINUX)) };
        let fields = Self::read(file)?;
        match Self::read(Path::new(VMLINUX)) {
            Ok(own) if own != fields => Err(BtfError::OtherKernel { path: file.to_owned() }),
            _ => Ok(fields),
        }
    }

    fn read(path: &Path) -> Result<Self, BtfError> {
        let unreadable = |cause| BtfError::Unreadable { path: path.to_owned(), cause };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, BtfError> {
        let btf =
            Btf::new(bytes).ok_or_else(|| BtfError::NoBtf { path: path.to_owned(), what: what(bytes) })?;
        let bits = |structure: &str, field: &str| {
            let missing =
                || BtfError::NoField { path: path.to_owned(), field: format!("{structure}.{field}") };
            btf.bits(structure, field).ok_or_else(missing)
        };
        let offset = |structure: &str, field: &str| bits(structure, field).map(|bits| bits / 8);
        let options = bits("tcp_sock", "rx_opt")?;
        let scale = options + bits("tcp_options_received", "rcv_wscale")?;
        Ok(Self {
            rcv_nxt: offset("tcp_sock", "rcv_nxt")?,
            rcv_wnd: offset("tcp_sock", "rcv_wnd")?,
            bytes_received: offset("tcp_sock", "bytes_received")?,
            rcv_isn: offset("tcp_request_sock", "rcv_isn")?,
            rcv_wscale: scale / 8,
            rcv_wscale_shift: scale % 8,
            snd_una: offset("tcp_sock", "snd_una")?,
            snd_nxt: offset("tcp_sock", "snd_nxt")?,
            ts_recent: options / 8 + offset("tcp_options_received", "ts_recent")?,
            snt_isn: offset("tcp_request_sock", "snt_isn")?,
            request_ts_recent: offset("request_sock", "ts_recent")?,
        })
    }
}

/// Whether a description of the kernel's types is there and good.
///
/// # Errors
/// Why not.
pub fn look(file: Option<&Path>) -> Result<(), BtfError> {
    SocketFields::find(file).map(drop)
}

/// What a file is that is no BTF, and what to do.
fn what(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "it is empty",
        [0x7f, b'E', b'L', b'F', ..] => {
            "it is an ELF file; take its types out with `llvm-objcopy --dump-section .BTF=FILE vmlinux /dev/null`"
        }
        [0x1f, 0x8b, ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "it is compressed; unpack it first, as with `tar -xf`"
        }
        [first, second, ..] if u16::from_ne_bytes([*second, *first]) == MAGIC as u16 => {
            "it is of a machine of the other byte order"
        }
        [first, second, ..] if u16::from_ne_bytes([*first, *second]) == MAGIC as u16 => "it is cut short",
        _ => "it does not begin as one; `bpftool btf dump file FILE` shows what is one",
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
