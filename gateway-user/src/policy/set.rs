//! A policy as the kernel takes it.

use std::sync::Arc;

use gateway_common::abi::{Listing, Settings, policy};

use crate::prefixes::Prefixes;

/// A policy as the kernel takes it.
pub struct PolicySet {
    /// Everything but prefixes.
    pub settings: Box<Settings>,
    /// Lists and classes.
    pub prefixes: Arc<Prefixes<Listing>>,
}

impl PolicySet {
    /// Joins both: the settings say which prefixes there are to look up.
    pub fn new(mut settings: Box<Settings>, prefixes: Arc<Prefixes<Listing>>) -> Self {
        let flag = |empty: bool, flag: u32| if empty { 0 } else { flag };
        settings.flags &= !(policy::LISTS_V4 | policy::LISTS_V6);
        settings.flags |=
            flag(prefixes.v4.is_empty(), policy::LISTS_V4) | flag(prefixes.v6.is_empty(), policy::LISTS_V6);
        Self { settings, prefixes }
    }
}
