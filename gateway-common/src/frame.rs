//! Bounds-checked reads of a frame.

/// Offsets above this are not read, in the kernel or on the host: it lets the verifier bound every access, and all that
/// the stages look at lies below.
pub const OFFSET_MAX: u32 = 4_096;

/// A received Ethernet frame.
pub trait Frame {
    /// Bytes on the wire, Ethernet header included.
    fn length(&self) -> u32;

    /// The `N` bytes at `offset`, or nothing where the frame ends before or `offset` is above [`OFFSET_MAX`].
    fn bytes<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// One byte.
    #[inline(always)]
    fn u8(&self, offset: u32) -> Option<u8> {
        self.bytes::<1>(offset).map(|[byte]| byte)
    }

    /// Two bytes in network order.
    #[inline(always)]
    fn be16(&self, offset: u32) -> Option<u16> {
        self.bytes(offset).map(u16::from_be_bytes)
    }
}

impl Frame for &[u8] {
    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn bytes<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if offset > OFFSET_MAX {
            return None;
        }
        self.get(offset as usize..)?.first_chunk().copied()
    }
}
