//! How tables lie in memory: words of their sets and slots, and how many there are.

use crate::limit::bucket::{SLOT_WORDS, WAYS};

/// Word of a slot of partly read hellos that holds the flow's fingerprint; 0: the slot is empty.
pub const HELLO_KEY: usize = 0;
/// First word of the reader's state.
pub const HELLO_READER: usize = 1;
/// Word with the sequence number of the stream's first byte, and when the slot was last written.
pub const HELLO_SEEN: usize = 7;
const _: () = assert!(HELLO_READER + crate::wire::hello::WORDS == HELLO_SEEN && HELLO_SEEN < SLOT_WORDS);

/// Index in [`super::Service::total`]: what unknown clients may use.
pub const STRANGERS: usize = 0;
/// What known clients may use, and all clients together.
pub const ALL: usize = 1;

/// Slot of a service's totals that holds the counts of [`crate::stage::handshake`]; the first holds the total itself.
pub const HANDSHAKE_SLOT: usize = 1;
/// Word of that slot: TAT of the rate of SYNs above which cookies answer.
pub const HANDSHAKE_SURGE: usize = 0;
/// Until when they answer.
pub const HANDSHAKE_UNTIL: usize = 1;
/// When a cookie was last sent, or came back.
pub const HANDSHAKE_ANSWERED: usize = 2;
/// TAT of the out-of-state packets that pass.
pub const HANDSHAKE_OUT_OF_STATE: usize = 3;
/// TAT of the answers by cookies.
pub const HANDSHAKE_ANSWERS: usize = 4;
/// Word of that slot in the set of no service: TAT of path-MTU messages that pass.
pub const PATH_MTU_TAT: usize = 5;
/// Until when the service is at its limit of connections. Writer: user space, as of the next.
pub const HANDSHAKE_FULL: usize = 6;
/// Until when some source or neighbourhood may have no more connections to the service.
pub const HANDSHAKE_HOLDERS: usize = 7;
/// First of the two slots with the service's local endpoints ([`crate::state::local_endpoints`]).
pub const ENDS_SLOT: usize = 2;
const _: () = assert!(ENDS_SLOT + 2 == WAYS);
/// Slot in the set of no service: a TAT for each kind of link control ([`crate::stage::essential`]), for unknown peers.
pub const LINK_CONTROL_SLOT: usize = ENDS_SLOT;
/// Slot in the set of no service, whose first word is the TAT of the host's own traffic
/// ([`crate::stage::own_traffic`]).
pub const OWN_SLOT: usize = ENDS_SLOT + 1;

/// Entries that a set of a table of pairs has room for: a set is one cache line.
pub const PAIR_WAYS: usize = 4;
/// Words of such an entry: key and state.
pub const PAIR_WORDS: usize = 2;
/// Sets of the table of banned sources: four bans each, so twice the room for [`BANS_MAX`].
pub const BAN_SETS: u32 = 1 << 19;
/// Words of the bitmap before it: sixteen bits for each of [`BANS_MAX`].
pub const BAN_FILTER_WORDS: u32 = 1 << 18;
/// Bans of single sources that can be in force at once.
pub const BANS_MAX: usize = 1 << 20;
/// Sets of the table of strikes: four sources each.
pub const STRIKE_SETS: u32 = 4_096;
/// Sources and neighbourhoods that can be at their limit of connections at once.
pub const HOLDERS_MAX: usize = 1 << 16;
/// Sets of the table of SYNs that were not answered: see [`crate::state::first_syns`].
pub const FIRST_SYN_SETS: u32 = 1 << 16;

/// Sets of peers for each kind of link control: four peers each.
pub const PEER_SETS: u32 = 64;
/// Kinds of link control that there is room for.
pub const PEER_KINDS: u32 = 8;
/// Tunnels' peers that there can be at once.
pub const TUNNELS_MAX: usize = 1 << 14;

/// Entries that one set of a drop cache has room for.
pub const DROP_WAYS: usize = 4;
/// Words of the part of such a set that each look-up reads, one cache line.
pub const DROP_SET_WORDS: usize = 2 * DROP_WAYS;
/// Words of the other part.
pub const DROP_REST_WORDS: usize = 2 * DROP_WAYS + 1;

/// Words of a set of pairs.
pub const PAIR_SET_WORDS: usize = PAIR_WAYS * PAIR_WORDS;

const _: () = assert!(PAIR_SET_WORDS * 8 == 64);
