//! How a packet begins a connection, or belongs to one.

use crate::{verdict::Reason, wire::synack::SynAck};

/// What this stage finds out about a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshake {
    /// A SYN cookie is to answer it.
    pub(super) is_to_answer: bool,
    /// Its connection is in TIME-WAIT.
    pub(super) is_ended: bool,
    /// The reason for it as a packet of no connection that passes, since there is room for some; [`Reason::Ok`]: it is none.
    pub(super) out_of_state: Reason,
    /// Of a SYN to a service that requires TLS: it is known that connections to its address and port end here.
    pub(super) is_local: bool,
    /// Of a SYN of which that is known: by how many bits this host scales the windows of such connections; 0: not at all, as far as is known.
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

    /// Whether the packet is a SYN, and it is known that connections to its address and port end here.
    #[inline(always)]
    pub const fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether the packet belongs to no connection, and passes nevertheless.
    #[inline(always)]
    pub const fn is_out_of_state(&self) -> bool {
        self.out_of_state as u8 != Reason::Ok as u8
    }

    /// Whether no application reads what is in the packet: the host's TCP answers it, with a reset or for an old connection.
    #[inline(always)]
    pub const fn is_unread(&self) -> bool {
        self.is_ended || self.is_out_of_state()
    }
}
