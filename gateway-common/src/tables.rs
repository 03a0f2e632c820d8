//! The tables that packets write: one declaration of each, what happens to them, and how large they are.

use crate::abi::{DROP_REST_WORDS, DROP_SET_WORDS, DROP_WAYS, PAIR_SET_WORDS, PAIR_WAYS, SET_WORDS, WAYS};

/// Calls a macro with the declaration of each table. An entry of a table of buckets has 64 bytes; one of a table of
/// pairs is a key and a word of state.
///
/// A declaration is the table's variant, its static in the program, its name (of the map and its pin, and the word for
/// it in metrics), and its size: `{field of `[`TableSizes`]`: entries by default, the program's constant for its sets,
/// regions}`, or `[sets]`.
#[macro_export]
macro_rules! for_each_table {
    ($callback:ident!) => {
        $callback! {
            buckets {
                /// A bucket for each source.
                Sources SOURCES "sources" {sources: 131_072, SETS_SOURCES, 1}
                /// A bucket for each source towards one service, in a region for each such service.
                ServiceSources SERVICE_SOURCES "service_sources" {
                    service_sources: 8_192, SETS_SERVICE_SOURCES, $crate::abi::SERVICE_REGIONS as u32
                }
                /// A bucket for each neighbourhood.
                Neighbours NEIGHBOURS "neighbours" {neighbours: 16_384, SETS_NEIGHBOURS, 1}
                /// A set for each service: its total, and what else is kept of it ([`crate::state::services`]).
                Totals TOTALS "totals" [$crate::abi::SERVICES as u32]
                /// First messages that are read in part.
                PartialHellos PARTIAL_HELLOS "hellos" {hellos: 32_768, SETS_HELLOS, 1}
            }
            pairs {
                /// The connections of gated services.
                Conntrack CONNTRACK "connections" {connections: 262_144, SETS_CONNECTIONS, 1}
                /// Flows that have opened QUIC connections.
                QuicFlows QUIC_FLOWS "tuples" {tuples: 262_144, SETS_TUPLES, 1}
                /// Known clients of gated services.
                KnownClients KNOWN_CLIENTS "clients" {clients: 65_536, SETS_CLIENTS, 1}
                /// Banned sources. Writer: user space; the program counts drops in place.
                Bans BANS "bans" [$crate::abi::BAN_SETS]
                /// Sources with strikes.
                Strikes STRIKES "strikes" [$crate::abi::STRIKE_SETS]
                /// Peers of link control: a region for each kind.
                LinkPeers LINK_PEERS "peers" [$crate::abi::PEER_KINDS * $crate::abi::PEER_SETS]
                /// SYNs that were not answered: a Bloom filter, whose sets are plain words.
                FirstSyns FIRST_SYNS "first_syns" [$crate::abi::FIRST_SYN_SETS]
            }
        }
    };
}

macro_rules! declare {
    (
        buckets { $(
            $(#[$b_doc:meta])* $b:ident $b_static:ident $b_name:literal
            $({$b_field:ident: $b_entries:literal, $b_sets:ident, $b_regions:expr})? $([$b_fixed:expr])?
        )* }
        pairs { $(
            $(#[$p_doc:meta])* $p:ident $p_static:ident $p_name:literal
            $({$p_field:ident: $p_entries:literal, $p_sets:ident, $p_regions:expr})? $([$p_fixed:expr])?
        )* }
    ) => {
        /// A table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Table {
            $($(#[$b_doc])* $b,)*
            $($(#[$p_doc])* $p,)*
        }

        /// A table of buckets: sets of [`WAYS`] entries of [`SLOT_WORDS`](crate::abi::SLOT_WORDS).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BucketTable {
            $($(#[$b_doc])* $b,)*
        }

        /// A table of pairs: sets of [`PAIR_WAYS`] entries of [`PAIR_WORDS`](crate::abi::PAIR_WORDS), a key and a
        /// state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PairTable {
            $($(#[$p_doc])* $p,)*
        }

        impl BucketTable {
            /// The table.
            #[inline(always)]
            pub const fn table(self) -> Table {
                match self { $(Self::$b => Table::$b),* }
            }
        }

        impl PairTable {
            /// The table.
            #[inline(always)]
            pub const fn table(self) -> Table {
                match self { $(Self::$p => Table::$p),* }
            }
        }

        impl Table {
            /// All, by discriminant.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$b,)* $(Self::$p,)*];
            /// How many there are.
            pub const COUNT: usize = [$(Self::$b,)* $(Self::$p,)*].len();

            /// The word for it in metrics, and the name of its map.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$b => $b_name,)* $(Self::$p => $p_name,)* }
            }

            /// Whether its entries are pairs of words, a key and a state.
            pub const fn is_of_pairs(self) -> bool {
                match self { $(Self::$b => false,)* $(Self::$p => true,)* }
            }

            /// The program's constant for the sets of one region, and the number of regions; nothing if its size is
            /// fixed.
            pub const fn constant(self) -> Option<(&'static str, u32)> {
                match self {
                    $($(Self::$b => Some((stringify!($b_sets), $b_regions)),)?)*
                    $($(Self::$p => Some((stringify!($p_sets), $p_regions)),)?)*
                    _ => None,
                }
            }
        }

        /// How many entries each table has; rounded up so that its sets are a power of two.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct TableSizes {
            $($(#[doc = concat!("Of [`Table::", stringify!($b), "`].")] pub $b_field: u32,)?)*
            $($(#[doc = concat!("Of [`Table::", stringify!($p), "`].")] pub $p_field: u32,)?)*
            /// Refused sources, in the drop caches of all CPUs together: 34 bytes each.
            pub drops: u32,
        }

        impl Default for TableSizes {
            /// 32 MiB in all. Why these: docs/architecture.md.
            fn default() -> Self {
                Self {
                    $($($b_field: $b_entries,)?)*
                    $($($p_field: $p_entries,)?)*
                    drops: 131_072,
                }
            }
        }

        impl TableSizes {
            /// The same tables with their entries divided by a number.
            #[must_use]
            pub const fn divided(self, by: u32) -> Self {
                Self {
                    $($($b_field: self.$b_field / by,)?)*
                    $($($p_field: self.$p_field / by,)?)*
                    drops: self.drops / by,
                }
            }

            /// Sets of one region of a table.
            pub const fn sets(&self, table: Table) -> u32 {
                match table {
                    $(Table::$b => $((self.$b_field / WAYS as u32).next_power_of_two())? $($b_fixed)?,)*
                    $(Table::$p => $((self.$p_field / PAIR_WAYS as u32).next_power_of_two())? $($p_fixed)?,)*
                }
            }
        }

        /// How many sets the tables have; powers of two.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Sets {
            $($(#[doc = concat!("Of [`Table::", stringify!($b), "`].")] pub $b_field: u32,)?)*
            $($(#[doc = concat!("Of [`Table::", stringify!($p), "`].")] pub $p_field: u32,)?)*
            /// The drop cache of each CPU.
            pub drops: u32,
        }

        impl Sets {
            /// Sets of one region of a table.
            #[must_use]
            pub const fn of(&self, table: Table) -> u32 {
                match table {
                    $(Table::$b => $(self.$b_field)? $($b_fixed)?,)*
                    $(Table::$p => $(self.$p_field)? $($p_fixed)?,)*
                }
            }
        }

        impl From<TableSizes> for Sets {
            /// As many as the kernel's tables of these sizes have.
            fn from(sizes: TableSizes) -> Self {
                Self {
                    $($($b_field: sizes.sets(Table::$b),)?)*
                    $($($p_field: sizes.sets(Table::$p),)?)*
                    drops: sizes.drop_sets(1),
                }
            }
        }
    };
}

for_each_table!(declare!);

impl Table {
    /// Words of one of its sets.
    pub const fn set_words(self) -> usize {
        if self.is_of_pairs() { PAIR_SET_WORDS } else { SET_WORDS }
    }

    /// Its regions, each of as many sets.
    pub const fn regions(self) -> u32 {
        match self.constant() {
            Some((_, regions)) => regions,
            None => 1,
        }
    }
}

impl Sets {
    /// All sets of a table: those of all regions together.
    #[must_use]
    pub const fn all_of(&self, table: Table) -> u32 {
        self.of(table) * table.regions()
    }
}

/// An event of a table; counted, and never a reason for a packet's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Note {
    /// A newcomer took a slot.
    Inserted,
    /// Its slot was still in use: a debt was forgiven, or a connection forgotten.
    Evicted,
    /// A newcomer found no slot that it may take.
    Full,
}

impl Note {
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// Sets of each CPU's drop cache, at least and at most: enough to be of use, and few enough to stay in the CPU's cache.
const DROP_SETS_MIN: u32 = 256;
const DROP_SETS_MAX: u32 = 16_384;

impl TableSizes {
    /// Bytes of all tables whose size can be set.
    pub const fn bytes(&self) -> u64 {
        let mut words = self.drops as u64 / DROP_WAYS as u64 * (DROP_SET_WORDS + DROP_REST_WORDS) as u64;
        let mut left: &[Table] = &Table::ALL;
        while let [table, rest @ ..] = left {
            if table.constant().is_some() {
                words += self.all_sets(*table) as u64 * table.set_words() as u64;
            }
            left = rest;
        }
        words * size_of::<u64>() as u64
    }

    /// All sets of a table: those of all regions together.
    pub const fn all_sets(&self, table: Table) -> u32 {
        self.sets(table) * table.regions()
    }

    /// Sets of the drop cache of each of so many CPUs: the more CPUs, the fewer sources come to one of them.
    pub const fn drop_sets(&self, cpus: u32) -> u32 {
        let sets = self.drops / DROP_WAYS as u32 / cpus;
        match sets {
            0..DROP_SETS_MIN => DROP_SETS_MIN,
            DROP_SETS_MAX.. => DROP_SETS_MAX,
            _ => 1 << sets.ilog2(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_cpus_there_are_the_smaller_is_the_drop_cache_of_each() {
        let sets = [1, 2, 3, 32, 1_024].map(|cpus| TableSizes::default().drop_sets(cpus));
        assert_eq!(sets, [16_384, 16_384, 8_192, 1_024, 256]);
    }
}
