//! How large the tables are.

use crate::{
    abi::{
        DROP_REST_WORDS, DROP_SET_WORDS, DROP_WAYS, LINK_WAYS, LINK_WORDS, SERVICE_REGIONS, SERVICES,
        SLOT_WORDS, WAYS,
    },
    env::Table,
};

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
        8 * (slots as u64 * SLOT_WORDS as u64 + links as u64 * LINK_WORDS as u64 + drops as u64)
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
            Table::Connections => self.connections,
            Table::Hellos => self.hellos,
            Table::Tuples => self.tuples,
            Table::Clients => self.clients,
        };
        let ways = if table.is_of_links() { LINK_WAYS } else { WAYS };
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
