//! The promises, briefly: the real daemon, real clients and floods in the lab. `soak` measures them at length.

use anyhow::Result;
use gateway_tests::bars::{self, Bar, Scale};
use gateway_tests::lab::{alone, require_lab};

fn run(bar: Bar) -> Result<()> {
    require_lab();
    let _alone = alone();
    bar(&Scale::SHORT)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn honest_requests_are_answered() -> Result<()> {
    run(bars::https)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn several_tls_stacks_are_answered() -> Result<()> {
    run(bars::few_stacks)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn no_plaintext_reaches_a_gated_socket() -> Result<()> {
    run(bars::plaintext)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn connections_from_before_go_on() -> Result<()> {
    run(bars::adoption)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_crowd_from_before_goes_on() -> Result<()> {
    run(bars::crowd)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn idle_connections_outlast_floods() -> Result<()> {
    run(bars::idle)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn limits_are_exact() -> Result<()> {
    run(bars::exactness)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_new_limit_holds_at_once() -> Result<()> {
    run(bars::limit_set)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn reloads_disturb_nobody() -> Result<()> {
    run(bars::reloads)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_killed_daemon_goes_on_protecting() -> Result<()> {
    run(bars::kill_and_restart)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn every_frame_is_counted() -> Result<()> {
    run(bars::metrics)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn who_proves_himself_an_offender_is_banned() -> Result<()> {
    run(bars::bans)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_network_of_offenders_shares_one_budget() -> Result<()> {
    run(bars::escalation)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn known_clients_get_through_first() -> Result<()> {
    run(bars::known)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn many_bans_outlast_a_restart() -> Result<()> {
    run(bars::million)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn what_is_no_quic_does_not_reach_a_quic_service() -> Result<()> {
    run(bars::nonsense)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn only_answers_that_were_asked_for_come_through() -> Result<()> {
    run(bars::reflection)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn path_mtu_messages_have_a_limit() -> Result<()> {
    run(bars::path_mtu)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn the_hosts_own_questions_are_answered_in_a_flood() -> Result<()> {
    run(bars::dns)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn known_clients_open_quic_connections_in_a_flood() -> Result<()> {
    run(bars::openings)
}

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_known_peer_is_heard_in_a_flood_of_link_control() -> Result<()> {
    run(bars::link)
}
