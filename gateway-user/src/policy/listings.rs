//! What a configuration says of prefixes, as the kernel takes it.

use std::sync::Arc;

use gateway_common::{
    abi::{Listing, listing},
    source::finer::Finer,
};
use ipnet::IpNet;

use crate::{
    config::{Class, Config},
    finer,
    prefixes::{Prefixes, compile},
};

/// Compiles the prefixes of a configuration, of which there may be a million: once for all policies.
pub fn prefixes(config: &Config) -> Arc<Prefixes<Listing>> {
    Arc::new(compile(listings(config), join))
}

fn listings(config: &Config) -> impl Iterator<Item = (IpNet, Listing)> {
    const NOTHING: Listing = Listing { flags: 0, class: 0, finer: 0 };
    let flagged = |flags| move |&net: &IpNet| (net, Listing { flags, ..NOTHING });
    let classed = |(index, class): (usize, &Class)| {
        let class_of = move |net| (net, Listing { class: index as u32 + 1, ..NOTHING });
        class.sources.clone().into_iter().map(class_of)
    };
    config
        .lists
        .allow
        .iter()
        .map(flagged(listing::ALLOW))
        .chain(config.lists.block.iter().map(flagged(listing::BLOCK)))
        .chain(config.ban.iter().flat_map(|ban| &ban.never).map(flagged(listing::NEVER)))
        .chain(config.classes.iter().enumerate().flat_map(classed))
        .chain(
            finer::compile(&config.limits.finer)
                .map(|(net, Finer(finer))| (net, Listing { finer, ..NOTHING })),
        )
}

/// Flags add up; the narrower class holds, and the narrower network of finer sources.
fn join(outer: Listing, own: Listing) -> Listing {
    let narrower = |outer, own| if own == 0 { outer } else { own };
    Listing {
        flags: outer.flags | own.flags,
        class: narrower(outer.class, own.class),
        finer: narrower(outer.finer, own.finer),
    }
}
