//! What the loader fixes before the verifier looks: it folds these, and drops the code that they rule out.

use aya_ebpf::Global;
macro_rules! constants {
    ($($(#[$meta:meta])* $name:ident: $type:ty = $value:expr;)*) => {$(
        $(#[$meta])*
        #[unsafe(no_mangle)]
        pub(crate) static $name: Global<$type> = Global::new($value);
    )*};
}

constants! {
    /// The key of all hashes: first half.
    KEY_0: u64 = 0;
    /// Second half.
    KEY_1: u64 = 0;
    /// Monotonic nanoseconds at instant 0.
    EPOCH: u64 = 0;
    /// Instants from one tick of the kernel to the next.
    TICK: u64 = 0;
    /// Sets of the table of sources; a power of two, like the next six.
    SETS_SOURCES: u32 = 1;
    /// Sets of one region of the table of sources towards services.
    SETS_SERVICE_SOURCES: u32 = 1;
    /// Sets of the table of neighbourhoods.
    SETS_NEIGHBOURS: u32 = 1;
    /// Sets of the table of connections.
    SETS_CONNECTIONS: u32 = 1;
    /// Sets of the table of first messages.
    SETS_HELLOS: u32 = 1;
    /// Sets of the table of QUIC tuples.
    SETS_TUPLES: u32 = 1;
    /// Sets of the table of known clients.
    SETS_CLIENTS: u32 = 1;
    /// Sets of the drop cache of each CPU; a power of two.
    DROP_SETS: u32 = 1;
    /// 64 less the number of bits in the number of a set.
    DROP_SHIFT: u32 = 63;
    /// 1: rare verdicts go to the log.
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
