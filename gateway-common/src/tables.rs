//! The tables that packets write: their names, what happens to them, and how large they are.

use crate::abi::{
    DROP_REST_WORDS, DROP_SET_WORDS, DROP_WAYS, PAIR_WAYS, PAIR_WORDS, SERVICE_REGIONS, SERVICES, SLOT_WORDS,
    WAYS,
};

/// The tables of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// A bucket for each source.
    Sources,
    /// A bucket for each source towards one service, in a region for each such service.
    ServiceSources,
    /// A bucket for each neighbourhood.
    Neighbours,
    /// A bucket for each service: the first slot of set *n* is service *n*'s total.
    Totals,
    /// The connections of gated services.
    Conntrack,
    /// First messages of which a part has come.
    PartialHellos,
    /// Who has opened QUIC connections.
    QuicFlows,
    /// Known clients of gated services.
    KnownClients,
}

impl Table {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All, by discriminant.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Sources,
        Self::ServiceSources,
        Self::Neighbours,
        Self::Totals,
        Self::Conntrack,
        Self::PartialHellos,
        Self::QuicFlows,
        Self::KnownClients,
    ];

    /// Whether its sets are of pairs of words, name and state: [`crate::abi::PAIR_WAYS`] of them. Those of the others are of
    /// buckets.
    pub const fn is_of_pairs(self) -> bool {
        matches!(self, Self::Conntrack | Self::QuicFlows | Self::KnownClients)
    }

    /// The word for it in metrics, and the name of its map.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::ServiceSources => "service_sources",
            Self::Neighbours => "neighbours",
            Self::Totals => "totals",
            Self::Conntrack => "connections",
            Self::PartialHellos => "hellos",
            Self::QuicFlows => "tuples",
            Self::KnownClients => "clients",
        }
    }
}

/// What happens to a table; counted, and never a reason for a packet's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Note {
    /// A newcomer took a slot.
    Inserted,
    /// The slot it took was still in use: a debt was forgiven, or a connection forgotten.
    Evicted,
    /// A newcomer found no slot that it may take.
    Full,
}

impl Note {
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// Sets that each CPU's drop cache has at least and at most: so that it is of use, and stays in the cache of its CPU.
const DROP_SETS_MIN: u32 = 256;
const DROP_SETS_MAX: u32 = 16_384;

/// How many slots each table has; rounded up so that its sets are a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
    /// Sources: 64 bytes each.
    pub sources: u32,
    /// Sources towards one service, for each of 16 services: 64 bytes each.
    pub service_sources: u32,
    /// Neighbourhoods: 64 bytes each.
    pub neighbours: u32,
    /// Connections of gated services: 16 bytes each.
    pub connections: u32,
    /// First messages of which a part has come: 64 bytes each.
    pub hellos: u32,
    /// Who has opened QUIC connections: 16 bytes each.
    pub tuples: u32,
    /// Known clients of gated services: 16 bytes each.
    pub clients: u32,
    /// Refused sources, in the drop caches of all CPUs together: 34 bytes each.
    pub drops: u32,
}

impl Default for TableSizes {
    /// 32 MiB in all. Why these: docs/architecture.md.
    fn default() -> Self {
        Self {
            sources: 131_072,
            service_sources: 8_192,
            neighbours: 16_384,
            connections: 262_144,
            hellos: 32_768,
            tuples: 262_144,
            clients: 65_536,
            drops: 131_072,
        }
    }
}

impl TableSizes {
    /// Bytes of all of them.
    pub const fn bytes(&self) -> u64 {
        let of_services = self.service_sources * SERVICE_REGIONS as u32;
        let slots = self.sources + of_services + self.neighbours + self.hellos;
        let links = self.connections + self.tuples + self.clients;
        let drops = self.drops as usize / DROP_WAYS * (DROP_SET_WORDS + DROP_REST_WORDS);
        8 * (slots as u64 * SLOT_WORDS as u64 + links as u64 * PAIR_WORDS as u64 + drops as u64)
    }

    /// The same tables with a part of their slots: one of this many.
    #[must_use]
    pub const fn divided(self, by: u32) -> Self {
        Self {
            sources: self.sources / by,
            service_sources: self.service_sources / by,
            neighbours: self.neighbours / by,
            connections: self.connections / by,
            hellos: self.hellos / by,
            tuples: self.tuples / by,
            clients: self.clients / by,
            drops: self.drops / by,
        }
    }

    /// Sets of the drop cache of each of so many CPUs: the more CPUs there are, the fewer sources come to one of them.
    pub const fn drop_sets(&self, cpus: u32) -> u32 {
        let sets = self.drops / DROP_WAYS as u32 / cpus;
        match sets {
            0..DROP_SETS_MIN => DROP_SETS_MIN,
            DROP_SETS_MAX.. => DROP_SETS_MAX,
            _ => 1 << sets.ilog2(),
        }
    }

    /// Sets of a table, of one region of it for service sources.
    pub const fn sets(&self, table: Table) -> u32 {
        let slots = match table {
            Table::Sources => self.sources,
            Table::ServiceSources => self.service_sources,
            Table::Neighbours => self.neighbours,
            Table::Totals => return SERVICES as u32,
            Table::Conntrack => self.connections,
            Table::PartialHellos => self.hellos,
            Table::QuicFlows => self.tuples,
            Table::KnownClients => self.clients,
        };
        let ways = if table.is_of_pairs() { PAIR_WAYS } else { WAYS };
        (slots / ways as u32).next_power_of_two()
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
