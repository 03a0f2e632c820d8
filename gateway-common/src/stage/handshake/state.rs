//! How a packet begins a connection, or belongs to one.

use crate::{verdict::Reason, wire::synack::SynAck};

/// What this stage finds out about a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshake {
    /// A SYN cookie is to answer it.
    pub(super) is_to_answer: bool,
    /// Its connection is in TIME-WAIT.
    pub(super) is_ended: bool,
    /// Of an out-of-state packet for which the service has room: the reason if its source has none. [`Reason::Ok`]: it
    /// is no such packet.
    pub(super) out_of_state: Reason,
    /// It is a SYN, and connections to its address and port are known to end here. Looked up if the service requires
    /// TLS, or if cookies may answer.
    pub(super) is_local: bool,
    /// Of such a SYN: how many bits this host scales windows of these connections; 0: not at all, as far as is known.
    pub(super) scale: u8,
    /// The answer to it.
    pub(super) answer: SynAck,
}

impl Handshake {
    /// Begins a packet.
    #[inline(always)]
    pub(in crate::stage) fn begin(&mut self) {
        (self.is_to_answer, self.is_ended, self.is_local) = (false, false, false);
        self.out_of_state = Reason::Ok;
    }

    /// Whether a SYN cookie is to answer the packet.
    #[inline(always)]
    pub const fn is_to_answer(&self) -> bool {
        self.is_to_answer
    }

    /// Whether the packet is a SYN, and connections to its address and port are known to end here.
    #[inline(always)]
    pub const fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether the packet is out of state, and passes nevertheless.
    #[inline(always)]
    pub const fn is_out_of_state(&self) -> bool {
        self.out_of_state as u8 != Reason::Ok as u8
    }

    /// Whether no application reads the packet: the host's TCP answers it, with a reset or for an old connection.
    #[inline(always)]
    pub const fn is_unread(&self) -> bool {
        self.is_ended || self.is_out_of_state()
    }
}
