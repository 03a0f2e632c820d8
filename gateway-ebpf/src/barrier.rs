//! Numbers of which the verifier must know nothing.

use core::arch::asm;

use crate::maps;

/// The same number, of which the verifier knows nothing from here on.
#[inline(always)]
pub(crate) fn barrier_var(mut value: u64) -> u64 {
    // The verifier takes the difference of two pointers for any number (`adjust_reg_min_max_vals` in
    // kernel/bpf/verifier.c): here it is 0.
    // SAFETY: registers are written, and nothing else.
    unsafe {
        asm!(
            "{other} = {pointer}", "{other} -= {pointer}", "{value} += {other}",
            value = inout(reg) value, pointer = in(reg) maps::ACTIVE.address(), other = out(reg) _,
            options(pure, nomem, nostack)
        );
    };
    value
}
