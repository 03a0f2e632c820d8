//! Two CPUs that get the same frames: one that makes use of what it knows from the frames before, and one that forgets it.

use gateway_common::{
    limit::rate::{Instant, SECOND},
    verdict::Verdict,
};
use gateway_user::host::{Cpu, HostEnv, Stand};

use crate::cases::START;

/// A tick.
pub const LATE: Instant = SECOND / 250;

/// The two, each with tables of its own. Their clocks are late.
pub struct Twins {
    /// The tables of the one and of the other.
    pub envs: [HostEnv; 2],
    /// What the one knows.
    pub cpu: Cpu,
}

impl Twins {
    /// Under a policy.
    pub fn new(stand: impl Fn() -> Stand) -> Self {
        let envs = [(); 2].map(|()| HostEnv::new(stand()));
        let cpu = Cpu::with_drop_cache(&envs[0]);
        let twins = Self { envs, cpu };
        twins.set_clocks(START, LATE);
        twins
    }

    /// What both clocks say, and by how much they are late.
    pub fn set_clocks(&self, now: Instant, late: Instant) {
        for env in &self.envs {
            env.set_now(now);
            env.set_late(late);
        }
    }

    /// Puts another policy into force, made of the one that is.
    pub fn change(&mut self, change: impl Fn(Stand) -> Stand) {
        for env in &mut self.envs {
            let stand = env.stand_mut();
            stand.settings.generation += 1;
            *stand = change(stand.clone());
        }
    }

    /// What the one says of a frame, and the other.
    pub fn judge(&mut self, frame: &[u8]) -> [Verdict; 2] {
        let Self { envs: [env, other], cpu } = self;
        [env.judge_on(frame, cpu), other.judge_on(frame, &mut Cpu::default())]
    }
}
