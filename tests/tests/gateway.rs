//! The promises, briefly: the real daemon, real clients and floods in the lab. `soak` measures them at length.

use anyhow::Result;
use gateway_tests::bars::{self, Bar, Scale};
use gateway_tests::lab::{alone, is_privileged};

fn run(name: &str, bar: Bar) -> Result<()> {
    if !is_privileged(name) {
        return Ok(());
    }
    let _alone = alone();
    bar(&Scale::SHORT)
}

#[test]
fn honest_requests_are_answered() -> Result<()> {
    run("honest_requests_are_answered", bars::https)
}

#[test]
fn several_tls_stacks_are_answered() -> Result<()> {
    run("several_tls_stacks_are_answered", bars::few_stacks)
}

#[test]
fn no_plaintext_reaches_a_gated_socket() -> Result<()> {
    run("no_plaintext_reaches_a_gated_socket", bars::plaintext)
}

#[test]
fn connections_from_before_go_on() -> Result<()> {
    run("connections_from_before_go_on", bars::adoption)
}

#[test]
fn a_crowd_from_before_goes_on() -> Result<()> {
    run("a_crowd_from_before_goes_on", bars::crowd)
}

#[test]
fn idle_connections_outlast_floods() -> Result<()> {
    run("idle_connections_outlast_floods", bars::idle)
}

#[test]
fn limits_are_exact() -> Result<()> {
    run("limits_are_exact", bars::exactness)
}

#[test]
fn a_new_limit_holds_at_once() -> Result<()> {
    run("a_new_limit_holds_at_once", bars::limit_set)
}

#[test]
fn reloads_disturb_nobody() -> Result<()> {
    run("reloads_disturb_nobody", bars::reloads)
}

#[test]
fn a_killed_daemon_goes_on_protecting() -> Result<()> {
    run("a_killed_daemon_goes_on_protecting", bars::kill_and_restart)
}

#[test]
fn every_frame_is_counted() -> Result<()> {
    run("every_frame_is_counted", bars::metrics)
}

#[test]
fn who_proves_himself_an_offender_is_banned() -> Result<()> {
    run("who_proves_himself_an_offender_is_banned", bars::bans)
}

#[test]
fn a_network_of_offenders_shares_one_budget() -> Result<()> {
    run("a_network_of_offenders_shares_one_budget", bars::escalation)
}

#[test]
fn known_clients_get_through_first() -> Result<()> {
    run("known_clients_get_through_first", bars::known)
}

#[test]
fn many_bans_outlast_a_restart() -> Result<()> {
    run("many_bans_outlast_a_restart", bars::million)
}

#[test]
fn what_is_no_quic_does_not_reach_a_quic_service() -> Result<()> {
    run("what_is_no_quic_does_not_reach_a_quic_service", bars::nonsense)
}

#[test]
fn only_answers_that_were_asked_for_come_through() -> Result<()> {
    run("only_answers_that_were_asked_for_come_through", bars::reflection)
}
