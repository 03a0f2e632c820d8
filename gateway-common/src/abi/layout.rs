//! How tables lie in memory: words of their sets and slots, and how many there are.

use crate::limit::bucket::{SLOT_WORDS, WAYS};

/// Word of a slot of first messages that holds the connection; 0: none.
pub const HELLO_KEY: usize = 0;
/// First word of the reader's state.
pub const HELLO_READER: usize = 1;
/// Sequence number of the stream's first byte, and when it was last seen.
pub const HELLO_SEEN: usize = 7;
const _: () = assert!(HELLO_READER + crate::wire::hello::WORDS == HELLO_SEEN && HELLO_SEEN < SLOT_WORDS);

/// Index in [`Service::total`]: what sources may have that are not known.
pub const STRANGERS: usize = 0;
/// What known clients may have, and everybody together.
pub const ALL: usize = 1;

/// Slot of a service's totals that holds what [`crate::stage::handshake`] counts; the first holds the total itself.
pub const HANDSHAKE_SLOT: usize = 1;
/// Word of that slot: TAT of the rate of SYNs above which cookies answer.
pub const HANDSHAKE_SURGE: usize = 0;
/// Until when they answer.
pub const HANDSHAKE_UNTIL: usize = 1;
/// When one answered last.
pub const HANDSHAKE_ANSWERED: usize = 2;
/// TAT of the out-of-state packets that pass.
pub const HANDSHAKE_OUT_OF_STATE: usize = 3;
/// TAT of the answers by cookies.
pub const HANDSHAKE_ANSWERS: usize = 4;
/// Word of that slot, of what is for no service: TAT of path-MTU messages that pass.
pub const PATH_MTU_TAT: usize = 5;
/// Until when the service has all the connections open that it may have. Writer: user space, as of the next.
pub const HANDSHAKE_FULL: usize = 6;
/// Until when there are sources or neighbourhoods that have all the connections open to the service that they may have.
pub const HANDSHAKE_HOLDERS: usize = 7;
/// First of the two slots that say which addresses and ports of the service end on this host.
pub const ENDS_SLOT: usize = 2;
const _: () = assert!(ENDS_SLOT + 2 == WAYS);
/// Slot, of what is for no service, that holds a TAT for each kind of link control ([`crate::stage::essential`]): of strangers' messages.
pub const LINK_CONTROL_SLOT: usize = ENDS_SLOT;
/// Slot, of what is for no service, whose first word holds the TAT of the host's own traffic ([`crate::stage::own_traffic`]).
pub const OWN_SLOT: usize = ENDS_SLOT + 1;

/// Connections that one set, one cache line, has room for.
pub const PAIR_WAYS: usize = 4;
/// Words of a connection: fingerprint and state.
pub const PAIR_WORDS: usize = 2;
/// Sets of the table of banned sources: four bans each, so twice the room for [`BANS_MAX`].
pub const BAN_SETS: u32 = 1 << 19;
/// Words of the bitmap before it: sixteen bits for each of [`BANS_MAX`].
pub const BAN_FILTER_WORDS: u32 = 1 << 18;
/// Bans of single sources that there may be at once.
pub const BANS_MAX: usize = 1 << 20;
/// Sets of the table of strikes: four sources each.
pub const STRIKE_SETS: u32 = 4_096;
/// Sources and neighbourhoods that may be held to their connections at once.
pub const HOLDERS_MAX: usize = 1 << 16;
/// Sets of the table of SYNs that were not answered: see [`crate::stage::handshake`].
pub const FIRST_SYN_SETS: u32 = 1 << 16;

/// Sets of one kind of link control's peers: four peers each.
pub const PEER_SETS: u32 = 64;
/// Kinds of link control that there is room for.
pub const PEER_KINDS: u32 = 8;
/// Tunnels' peers that there may be at once.
pub const TUNNELS_MAX: usize = 1 << 14;

/// Entries that one set of a drop cache has room for.
pub const DROP_WAYS: usize = 4;
/// Words of the part of such a set that each look-up reads, one cache line.
pub const DROP_SET_WORDS: usize = 2 * DROP_WAYS;
/// Words of the other part.
pub const DROP_REST_WORDS: usize = 2 * DROP_WAYS + 1;

/// Words of a set of connections.
pub const PAIR_SET_WORDS: usize = PAIR_WAYS * PAIR_WORDS;

const _: () = assert!(PAIR_SET_WORDS * 8 == 64);
