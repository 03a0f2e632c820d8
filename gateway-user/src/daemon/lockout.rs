//! No change cuts a management session that there is, but for one that is forced.

use std::net::IpAddr;

use gateway_common::{
    abi::{FOREVER, Live as LiveValue},
    hash::Key,
    verdict::Reason,
};
use ipnet::IpNet;

use super::{commit::CommitError, state::Gateway};
use crate::{
    control::call::Caller,
    host::Stand,
    live,
    lockout::{login, logind},
    model::{Prefix, Session},
    policy::PolicySet,
    prefixes,
};

/// The sessions that a request may not cut: those of its caller, and those that logind knows.
pub(super) fn spared(caller: Caller) -> Vec<Session> {
    if caller.force {
        return Vec::new();
    }
    let mut sessions = caller.sessions;
    let others = logind::sessions();
    let is_new = |session: &Session| sessions.iter().all(|own| own.client != session.client);
    let others: Vec<Session> = others.into_iter().filter(is_new).collect();
    sessions.extend(others);
    sessions
}

impl Gateway {
    /// Of these sessions, those that are not cut by what holds now.
    pub(super) fn reachable(&self, sessions: &[Session]) -> Vec<Session> {
        sessions.iter().filter(|session| self.cuts(session).is_none()).cloned().collect()
    }

    /// Refuses what is changed in memory, and is not in the kernel yet, where it cuts one of these sessions.
    pub(super) fn spare(&self, sessions: &[Session]) -> Result<(), CommitError> {
        let cut = sessions.iter().find_map(|session| Some((session, self.cuts(session)?)));
        cut.map_or(Ok(()), |(session, reason)| Err(CommitError::Cut(session.clone(), reason)))
    }

    /// Why a session could not log in again, if so.
    fn cuts(&self, session: &Session) -> Option<Reason> {
        let is_same = |address: &&IpAddr| address.is_ipv4() == session.client.is_ipv4();
        let own = self.addresses.iter().filter(is_same).find(|address| !address.is_loopback()).copied();
        // Without an address of the family nothing comes.
        let server = session.server.or(own)?;
        // What cannot be compiled is refused by its own reason.
        let stand = self.stand_of(session.client).ok()?;
        login::is_cut(stand, session, server)
    }

    /// What holds for one client, by memory: the policy, and what lists, bans and trust say of its address.
    fn stand_of(&self, client: IpAddr) -> anyhow::Result<Stand> {
        let key = Key(self.kernel.identity().key);
        let settings = self.settings(&mut self.rows.clone(), self.generation + 1)?;
        let listing = self.prefixes.longest(client).copied();
        let listed = prefixes::compile(listing.map(|listing| (client.into(), listing)), |_, own| own);
        let PolicySet { settings, .. } = PolicySet::new(settings, listed.into());
        let mut stand = Stand { settings, key, ..Stand::new() };
        if let Some(listing) = listing {
            stand.listings.insert(client.into(), listing);
        }
        stand.live.insert(client.into(), self.live_value(client).into());
        Ok(stand)
    }

    /// What bans and trust that are in force say of an address.
    fn live_value(&self, address: IpAddr) -> LiveValue {
        let now = live::now();
        let mut value = LiveValue::NONE;
        for length in 0..=IpNet::from(address).max_prefix_len() {
            let around = IpNet::new(address, length).ok().and_then(|net| Prefix::try_from(net.trunc()).ok());
            let Some(prefix) = around else { continue };
            if self.bans.all.in_force(prefix, now).is_some() {
                value.ban_until = FOREVER;
            }
            if self.live.allow().contains_key(&prefix) {
                value.allow_until = FOREVER;
            }
        }
        value
    }
}
