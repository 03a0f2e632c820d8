//! What the gateway's tests, demo and benchmarks stand on.

pub mod adversary;
pub mod bars;
pub mod builder;
pub mod captures;
pub mod cases;
pub mod kernel;
pub mod lab;
pub mod laws;
pub mod options;
pub mod pcap;
pub mod twins;

/// The bucket of a source in a table, as the budgets stage asks for it.
pub fn bucket(
    env: &gateway_user::host::HostEnv,
    table: gateway_common::tables::BucketTable,
    key: u64,
    now: gateway_common::limit::rate::Instant,
) -> Option<gateway_common::state::buckets::BucketOf<&gateway_user::host::HostEnv>> {
    use gateway_common::{
        abi::Active,
        env::{Context, Env as _},
        state::buckets::{self, Place},
    };
    let active = Active::default();
    let settings = env.settings(active)?;
    let context = Context { env: &env, settings, active, now, drops: gateway_user::host::Drops::default() };
    let mut place = Place::default();
    let is_found = buckets::seek(&context, table, 0, key, &mut place);
    buckets::bucket(&env, table, &place).filter(|_| is_found)
}
