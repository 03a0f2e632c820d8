//! What feeds may claim: each is held to its guard.

use gateway_common::{
    abi::{SLOT_COUNTS, SLOT_KEY},
    tables::Table,
};

use super::state::Gateway;
use crate::{
    bans::{
        guard::{Asked, refusal},
        table::source_by_limits,
    },
    control::protocol::{FailureKind, Reply},
    host::Prefixes,
    live,
    model::{Origin, OriginName, Prefix},
};

/// With fewer packets nothing is said of shares.
const PACKETS: u64 = 1_000;
const HOUR: u64 = 3_600;

impl Gateway {
    /// The origin of claims, if it may make them.
    pub(super) fn may_claim(
        &mut self,
        name: Option<&OriginName>,
        prefixes: &[Prefix],
        for_seconds: Option<u64>,
    ) -> Result<Origin, Reply> {
        let Some(origin) = name.map(OriginName::origin) else { return Ok(Origin::Operator) };
        let guard = self.config.guard(origin.name());
        let hour = live::now() / HOUR;
        let (at, made) = self.bans.lately.get(&origin).copied().unwrap_or((hour, 0));
        let made = if at == hour { made } else { 0 };
        let in_force = self.bans.all.counts().find(|(one, _)| *one == origin).map_or(0, |(_, count)| count);
        let asked = Asked {
            origin: origin.name(),
            prefixes,
            for_seconds,
            in_force,
            an_hour: made,
            share: self.share(prefixes),
        };
        if let Some((why, key)) = refusal(&guard, &asked) {
            log::warn!("refused: {why}");
            let help =
                format!("nothing was changed; `{key}` of [guard.{origin}] in {} says so", self.config_path());
            return Err(Reply::failed(FailureKind::Failed, why, help));
        }
        self.bans.lately.insert(origin.clone(), (hour, made + prefixes.len()));
        Ok(origin)
    }

    /// The part of the packets that have passed of late that came from these prefixes, in percent: as far as the table of sources tells.
    fn share(&self, prefixes: &[Prefix]) -> u8 {
        let mut set = Prefixes::default();
        prefixes.iter().for_each(|prefix| set.insert(prefix.network(), ()));
        let (mut all, mut theirs) = (0_u64, 0_u64);
        for slot in self.kernel.tables().slots(Table::Sources) {
            let passed = slot.words[SLOT_COUNTS] >> 32;
            let source = source_by_limits(slot.words[SLOT_KEY], &self.config.limits);
            let Some(network) = source.map(Prefix::network).filter(|_| passed != 0) else { continue };
            all += passed;
            let is_ipv6 = network.addr().is_ipv6();
            if set.longest(is_ipv6, network.addr().into()).is_some() {
                theirs += passed;
            }
        }
        if all < PACKETS { 0 } else { (theirs * 100 / all) as u8 }
    }
}
