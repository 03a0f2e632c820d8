//! What holds for every frame.

use std::sync::LazyLock;

use gateway_common::abi::mode;
use gateway_common::packet::Packet;
use gateway_common::stage::parse;
use gateway_common::verdict::{Action, Reason, Verdict};
use gateway_tests::cases::{Draft, START};
use gateway_tests::laws::{Watched, frames, judge_watched, mutate, rich_stand};
use gateway_user::host::{HostEnv, Stand};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(frames);

/// A frame of the table, as it is or changed.
fn near_right() -> impl Strategy<Value = Vec<u8>> {
    (0..FRAMES.len(), 0..FRAMES.len(), any::<u64>(), any::<bool>()).prop_map(|(one, other, seed, change)| {
        let mut frame = FRAMES[one].clone();
        if change {
            mutate(&mut StdRng::seed_from_u64(seed), &mut frame, &FRAMES[other]);
        }
        frame
    })
}

/// Any bytes, often with an EtherType that is looked into.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x8100), any::<u16>()];
    (prop::collection::vec(any::<u8>(), 0..200), kind).prop_map(|(mut bytes, kind)| {
        if let Some(place) = bytes.get_mut(12..14) {
            place.copy_from_slice(&kind.to_be_bytes());
        }
        bytes
    })
}

/// What the parser makes of a frame that it lets through.
fn parsed(frame: &[u8]) -> Option<Packet> {
    parse::packet(&Watched::new(frame))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_frame_gets_one_verdict(frame in prop_oneof![3 => near_right(), 1 => any_bytes()]) {
        let env = HostEnv::new(rich_stand());
        let verdict = judge_watched(&env, &frame, START);
        prop_assert_eq!(verdict.action, verdict.reason.action());
        prop_assert_eq!(env.counters().tally(verdict.action, verdict.reason).packets, 1);
    }

    #[test]
    fn monitor_says_what_enforce_does(frame in near_right()) {
        let enforced = judge_watched(&HostEnv::new(rich_stand()), &frame, START);
        let monitored = judge_watched(&HostEnv::new(rich_stand().mode(mode::MONITOR)), &frame, START);
        prop_assert_eq!(enforced.reason, monitored.reason);
        prop_assert_ne!(monitored.action, Action::Drop);
        prop_assert_eq!(enforced.action == Action::Drop, monitored.action == Action::WouldDrop);
    }

    #[test]
    fn what_was_parsed_lies_in_the_frame(frame in near_right()) {
        if let Some(packet) = parsed(&frame) {
            prop_assert_eq!(packet.length as usize, frame.len());
            prop_assert!(packet.payload as usize + packet.payload_length as usize <= frame.len());
        }
    }

    #[test]
    fn padding_changes_nothing(frame in near_right(), padding in prop::collection::vec(any::<u8>(), 1..64)) {
        // What does not parse may do so with more bytes; what does stays as it is.
        if let Some(packet) = parsed(&frame) {
            let padded = parsed(&[&frame[..], &padding].concat());
            let padded = padded.map(|padded| Packet { length: packet.length, ..padded });
            prop_assert_eq!(format!("{padded:?}"), format!("{:?}", Some(packet)));
        }
    }

    #[test]
    fn a_frame_cut_off_gets_a_verdict(frame in near_right(), cut in 0usize..200) {
        let cut = cut.min(frame.len());
        let verdict = judge_watched(&HostEnv::new(rich_stand()), &frame[..cut], START);
        prop_assert!(cut >= 14 || verdict.reason == Reason::FrameTruncated);
    }
}

#[test]
fn before_the_first_policy_everything_passes() {
    let mut stand = Stand::new();
    stand.settings.generation = 0;
    let env = HostEnv::new(stand);
    let verdict = env.judge(&[0; 60], 0);
    assert_eq!(verdict, Verdict::from(Reason::Unconfigured));
    assert_eq!(env.counters().tally(verdict.action, verdict.reason).bytes, 60);
}
