//! Reading and writing a frame, each access with its own check.

use aya_ebpf::programs::XdpContext;

/// The byte at an offset.
#[inline(always)]
pub(crate) fn get8(context: &XdpContext, offset: usize) -> Option<u8> {
    let at = context.data() + offset;
    if at + 1 > context.data_end() {
        return None;
    }
    // SAFETY: the byte lies before data_end, as just checked.
    Some(unsafe { *(at as *const u8) })
}

/// The 16-bit word in network order at an even offset.
#[inline(always)]
pub(crate) fn get16(context: &XdpContext, offset: usize) -> Option<u16> {
    let at = context.data() + offset;
    if at + 2 > context.data_end() {
        return None;
    }
    // SAFETY: the word ends before data_end, as just checked; frames begin at an even address and the offset is even.
    Some(u16::from_be(unsafe { *(at as *const u16) }))
}

/// The 32-bit word in network order at an even offset.
#[inline(always)]
pub(crate) fn get32(context: &XdpContext, offset: usize) -> Option<u32> {
    let (high, low) = (get16(context, offset)?, get16(context, offset + 2)?);
    Some(u32::from(high) << 16 | u32::from(low))
}

/// Writes a word of 64 bits as it is, at an offset that 8 divides.
#[inline(always)]
pub(crate) fn put64(context: &XdpContext, offset: usize, value: u64) -> Option<()> {
    let at = context.data() + offset;
    if at + 8 > context.data_end() {
        return None;
    }
    // SAFETY: the word ends before data_end, as just checked; frames of TEST_RUN begin at an address that 8 divides.
    unsafe { *(at as *mut u64) = value };
    Some(())
}

/// Writes a 16-bit word in network order, at an even offset.
#[inline(always)]
pub(crate) fn put16(context: &XdpContext, offset: usize, value: u16) -> Option<()> {
    let at = context.data() + offset;
    if at + 2 > context.data_end() {
        return None;
    }
    // SAFETY: the word ends before data_end, as just checked; frames begin at an even address and the offset is even.
    unsafe { *(at as *mut u16) = value.to_be() };
    Some(())
}

/// Writes a 32-bit word in network order, at an even offset.
#[inline(always)]
pub(crate) fn put32(context: &XdpContext, offset: usize, value: u32) -> Option<()> {
    put16(context, offset, (value >> 16) as u16)?;
    put16(context, offset + 2, value as u16)
}
