//! Constants that the loader sets before the verifier runs: it folds them, and drops the code that they rule out.

use aya_ebpf::Global;
use gateway_common::{for_each_table, tables::Table};

macro_rules! constants {
    ($($(#[$meta:meta])* $name:ident: $type:ty = $value:expr;)*) => {$(
        $(#[$meta])*
        #[unsafe(no_mangle)]
        pub(crate) static $name: Global<$type> = Global::new($value);
    )*};
}

/// Sets of one region of each table whose size can be set; powers of two.
macro_rules! sets {
    (
        buckets { $($(#[$b_doc:meta])* $b:ident $b_static:ident $b_name:literal
            $({$b_field:ident: $b_entries:literal, $b_sets:ident, $b_regions:expr})? $([$b_fixed:expr])?)* }
        pairs { $($(#[$p_doc:meta])* $p:ident $p_static:ident $p_name:literal
            $({$p_field:ident: $p_entries:literal, $p_sets:ident, $p_regions:expr})? $([$p_fixed:expr])?)* }
    ) => {
        constants! {
            $($($b_sets: u32 = 1;)?)*
            $($($p_sets: u32 = 1;)?)*
        }

        /// Sets of one region of a table; a power of two.
        #[inline(always)]
        pub(crate) fn sets(table: Table) -> u32 {
            match table {
                $(Table::$b => $($b_sets.load())? $($b_fixed)?,)*
                $(Table::$p => $($p_sets.load())? $($p_fixed)?,)*
            }
        }
    };
}

for_each_table!(sets!);

constants! {
    /// The key of all hashes: first half.
    KEY_0: u64 = 0;
    /// Second half.
    KEY_1: u64 = 0;
    /// Monotonic nanoseconds at instant 0.
    EPOCH: u64 = 0;
    /// Instants from one tick of the kernel to the next.
    TICK: u64 = 0;
    /// Sets of the drop cache of each CPU; a power of two.
    DROP_SETS: u32 = 1;
    /// 64 less the number of bits in the number of a set.
    DROP_SHIFT: u32 = 63;
    /// 1: what the program cannot do goes to the log.
    DEBUG_LOG: u32 = 0;
    /// 1: the clock is a map value, and the verdict is written beside it.
    TESTING: u32 = 0;
    /// Offset of `rcv_nxt` in `struct tcp_sock`; 0: sockets are not asked.
    TCP_SOCK_RCV_NXT: u32 = 0;
    /// Offset of `rcv_wnd` in `struct tcp_sock`.
    TCP_SOCK_RCV_WND: u32 = 0;
    /// Offset of `bytes_received` in `struct tcp_sock`.
    TCP_SOCK_BYTES_RECEIVED: u32 = 0;
    /// Offset of `rcv_isn` in `struct tcp_request_sock`.
    TCP_REQUEST_SOCK_RCV_ISN: u32 = 0;
    /// Offset of the byte that holds `rx_opt.rcv_wscale` in `struct tcp_sock`.
    TCP_SOCK_RCV_WSCALE: u32 = 0;
    /// Bits of that byte below it.
    TCP_SOCK_RCV_WSCALE_SHIFT: u32 = 0;
    /// Offset of `snd_una` in `struct tcp_sock`.
    TCP_SOCK_SND_UNA: u32 = 0;
    /// Offset of `snd_nxt` in `struct tcp_sock`.
    TCP_SOCK_SND_NXT: u32 = 0;
    /// Offset of `rx_opt.ts_recent` in `struct tcp_sock`.
    TCP_SOCK_TS_RECENT: u32 = 0;
    /// Offset of `snt_isn` in `struct tcp_request_sock`.
    TCP_REQUEST_SOCK_SNT_ISN: u32 = 0;
    /// Offset of `req.req.ts_recent` in `struct tcp_request_sock`.
    REQUEST_SOCK_TS_RECENT: u32 = 0;
}
