//! The table of cases: what becomes of which frames, under which policy, and why.
//!
//! Each case is a [`Stand`] and a sequence of frames with their times, and what each of them gets. [`Case::run`] asks whoever
//! it is given, so the same table runs on the host and in the kernel.

mod budgets;
mod clients;
mod connections;
mod essential;
mod ethernet;
mod forgotten;
mod frames;
mod gate;
mod gate_sockets;
mod handshake;
mod hello;
mod hello_sockets;
mod ipv4;
mod ipv6;
mod lists;
mod modes;
mod own;
mod policy;
mod quic;
mod reflection;
mod sanity;
mod scopes;
mod service;
mod transport;

use std::fmt;
use std::time::Duration;

use gateway_common::{
    abi::mode,
    env::{Receiver, Socket},
    limit::rate::{INSTANT_SHIFT, Instant, SECOND},
    verdict::{Action, Reason, Verdict},
};
use gateway_user::host::{Cpu, HostEnv, Sets, Stand};

pub use frames::{CLIENT, CLIENT_V6, SERVER, SERVER_V6};
pub use policy::{Draft, Offer, limit};

/// When the first frame of a case comes.
pub const START: Instant = 1_000 * SECOND;
/// Test runs in the kernel take frames of one page, less head and tail room.
const KERNEL_FRAME_MAX: usize = 3_000;
/// Test runs in the kernel take no frame without a whole Ethernet header.
const KERNEL_FRAME_MIN: usize = 14;

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is about; unique.
    pub name: String,
    /// What is laid down before its first frame.
    pub stand: Stand,
    /// What happens.
    pub steps: Vec<Step>,
    now: Instant,
    socket: Socket,
    cookies: bool,
    receiver: Receiver,
}

/// One frame and its fate.
#[derive(Clone, Debug)]
pub struct Step {
    /// When it comes; never before the frame before it.
    pub now: Instant,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What the host's TCP says when it is asked.
    pub socket: Socket,
    /// Whether a listener makes SYN cookies, and finds one of its own in the frame.
    pub cookies: bool,
    /// Whom on the host it is for.
    pub receiver: Receiver,
    /// What it must get.
    pub expected: Verdict,
}

/// A frame that got something else.
#[derive(Debug)]
pub struct Mismatch {
    /// The case.
    pub case: String,
    /// Which frame, from 0.
    pub step: usize,
    /// What it must get.
    pub expected: Verdict,
    /// What it got.
    pub got: Verdict,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, step, expected, got } = self;
        let name = |verdict: &Verdict| format!("{}: {}", verdict.action.name(), verdict.reason.name());
        write!(formatter, "{case}, frame {step}: wants {}, got {}", name(expected), name(got))
    }
}

impl Case {
    /// A case under the policy that limits nothing.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::under(name, Stand::new())
    }

    /// A case under a policy.
    #[must_use]
    pub fn under(name: impl Into<String>, stand: Stand) -> Self {
        Self {
            name: name.into(),
            stand,
            steps: Vec::new(),
            now: START,
            socket: Socket::Unknown,
            cookies: true,
            receiver: Receiver::Elsewhere,
        }
    }

    /// The next frames come later.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.now += instants(time);
        self
    }

    /// What the host's TCP says of the next frames.
    #[must_use]
    pub fn socket(mut self, socket: Socket) -> Self {
        self.socket = socket;
        self
    }

    /// Listeners make no SYN cookies, and there is none in the next frames.
    #[must_use]
    pub fn without_cookies(mut self) -> Self {
        self.cookies = false;
        self
    }

    /// Whom on the host the next frames are for.
    #[must_use]
    pub fn receiver(mut self, receiver: Receiver) -> Self {
        self.receiver = receiver;
        self
    }

    /// The next frame, and the reason of its verdict; the action is the reason's own under the policy's mode.
    #[must_use]
    pub fn gets(self, frame: impl Into<Vec<u8>>, reason: Reason) -> Self {
        let action = match (reason.action(), self.stand.settings.mode) {
            (Action::Drop, mode::MONITOR) => Action::WouldDrop,
            (action, _) => action,
        };
        self.expect(frame, Verdict { action, reason })
    }

    /// The next frame, which would be dropped, by a service or class in monitor mode.
    #[must_use]
    pub fn spares(self, frame: impl Into<Vec<u8>>, reason: Reason) -> Self {
        self.expect(frame, Verdict { action: Action::WouldDrop, reason })
    }

    fn expect(mut self, frame: impl Into<Vec<u8>>, expected: Verdict) -> Self {
        let Self { now, socket, cookies, receiver, .. } = self;
        self.steps.push(Step { now, frame: frame.into(), socket, cookies, receiver, expected });
        self
    }

    /// The same frame several times.
    #[must_use]
    pub fn times(mut self, count: usize, frame: impl Into<Vec<u8>>, reason: Reason) -> Self {
        let frame = frame.into();
        for _ in 0..count {
            self = self.gets(frame.clone(), reason);
        }
        self
    }

    /// Whether `BPF_PROG_TEST_RUN` can show it: frames of a size that it takes, no socket, and tables of the usual shape.
    #[must_use]
    pub fn runs_in_kernel(&self) -> bool {
        let is_usual = self.stand.sets == Sets::default();
        is_usual
            && self.steps.iter().all(|step| {
                (step.socket, step.receiver) == (Socket::Unknown, Receiver::Elsewhere)
                    && (KERNEL_FRAME_MIN..=KERNEL_FRAME_MAX).contains(&step.frame.len())
            })
    }

    /// Shows every frame to `judge`, in order, and stops at the first that gets something else.
    ///
    /// # Errors
    /// Says which frame that was.
    pub fn run(&self, judge: &mut dyn FnMut(&Step) -> Verdict) -> Result<(), Mismatch> {
        for (position, step) in self.steps.iter().enumerate() {
            let got = judge(step);
            if got != step.expected {
                let (case, expected) = (self.name.clone(), step.expected);
                return Err(Mismatch { case, step: position, expected, got });
            }
        }
        Ok(())
    }

    /// Runs it on the host, and gives back what tables and counters came to.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_on_host(&self) -> Result<HostEnv, Mismatch> {
        self.run_with(&mut |env, frame| env.judge_on(frame, &mut Cpu::default()))
    }

    /// The same, by somebody who says on what record the host judges each frame.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_with(&self, judge: &mut dyn FnMut(&HostEnv, &[u8]) -> Verdict) -> Result<HostEnv, Mismatch> {
        let mut env = HostEnv::new(self.stand.clone());
        self.run(&mut |step| {
            let (socket, receiver) = (step.socket, step.receiver);
            env.set_sockets(move |_| socket);
            env.set_cookies(step.cookies);
            env.set_receivers(move |_, _| receiver);
            env.set_now(step.now);
            judge(&env, &step.frame)
        })?;
        Ok(env)
    }
}

/// A case of one frame under the policy that limits nothing.
fn one(name: &str, frame: impl Into<Vec<u8>>, reason: Reason) -> Case {
    Case::new(name).gets(frame, reason)
}

/// A time in the unit of the packet path.
#[must_use]
pub fn instants(time: Duration) -> Instant {
    (time.as_nanos() as Instant) << INSTANT_SHIFT
}

/// The whole table.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        ethernet::cases(),
        ipv4::cases(),
        ipv6::cases(),
        transport::cases(),
        lists::cases(),
        sanity::cases(),
        essential::cases(),
        own::cases(),
        service::cases(),
        budgets::cases(),
        clients::cases(),
        connections::cases(),
        scopes::cases(),
        gate::cases(),
        gate_sockets::cases(),
        forgotten::cases(),
        handshake::cases(),
        hello::cases(),
        hello_sockets::cases(),
        quic::cases(),
        reflection::cases(),
        modes::cases(),
    ]
    .concat()
}
