//! Packets that follow their like: a CPU that has much to do finds out once what they are, whose, and what they count in.
//!
//! Connections come in runs of packets whose headers differ in little. What the stages before the budgets found out about one
//! is still in [`Scratch`] when the next comes, and holds for it as long as the same policy and the same reading of the clock do. So the
//! next goes on at the budgets. Only packets do so of which those stages keep no books: TCP to a service and QUIC are not among
//! them.

use crate::{
    abi::{Settings, gate},
    env::Env,
    frame::Frame,
    image::{Extent, Image},
    pipeline::{Context, Scratch, Stage},
    rate::Reading,
    stage::{essential, reflection, service},
    verdict::Step,
};

/// The packet that others may follow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequel {
    image: Image,
    /// By which reading.
    clock: Reading,
    /// By which policy: [`Settings::generation`]; 0: nobody follows.
    policy: u64,
    service: u32,
    /// The lower half of a source address, and how many packets from there have passed without another's between.
    source: u64,
    run: u32,
    /// Whether the packet at hand follows: 1 or 0.
    is_on: u32,
    /// Packets that have followed, and are not yet counted in their source's slot.
    count: u32,
}

/// So many make a run, of which the next is worth to be told from others. If that cannot be, it is tried again when so many more
/// have come.
const RUN: u32 = 4;
const AGAIN: u32 = 64;

impl Sequel {
    /// Whether a frame follows its like. If not, nobody follows what came before it.
    #[inline(always)]
    pub fn follows<F: Frame>(frame: &F, length: u32, settings: &Settings, scratch: &mut Scratch) -> bool {
        let Scratch { clock, role, sequel, .. } = scratch;
        let other = clock.latest ^ sequel.clock.latest
            | clock.late ^ sequel.clock.late
            | settings.generation ^ sequel.policy;
        if other != 0 || sequel.image.difference(frame, length) != 0 {
            // One that other packets have ended begins anew.
            sequel.run &= 0_u32.wrapping_sub(u32::from(sequel.policy == 0));
            (sequel.policy, sequel.is_on) = (0, 0);
            return false;
        }
        role.service = sequel.service;
        sequel.is_on = 1;
        true
    }

    /// Whether the packet at hand follows.
    #[inline(always)]
    pub const fn is_on(&self) -> bool {
        self.is_on != 0
    }

    /// Counts a packet that was admitted, if it follows; the others are counted in their source's slot at once.
    #[inline(always)]
    pub const fn counts(&mut self) -> bool {
        self.count += self.is_on;
        self.is_on != 0
    }

    /// Whether there are packets to count before [`Scratch`] is another's.
    #[inline(always)]
    pub const fn is_due(&self) -> bool {
        self.count != 0
    }

    /// How many those are; now they are counted.
    #[inline(always)]
    pub const fn take(&mut self) -> u32 {
        core::mem::replace(&mut self.count, 0)
    }

    /// Has a packet that passes followed, where it makes a run.
    #[inline(always)]
    pub fn passed<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) {
        let Scratch { clock, packet, sequel, .. } = scratch;
        if clock.late == 0 {
            return;
        }
        if packet.source.low != sequel.source {
            (sequel.source, sequel.run) = (packet.source.low, 0);
        }
        sequel.run += 1;
        if sequel.run % AGAIN == RUN {
            let _ = context.env.apart(Stage::Lead, frame, context, scratch);
        }
    }

    /// Keeps its image, if nothing more is to be known of its like.
    #[inline(always)]
    pub fn lead<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
        let settings = context.settings;
        let Scratch { network, packet, role, .. } = &*scratch;
        let has_state = if packet.is_tcp() {
            role.service != 0
        } else {
            service::at(settings, role.service).gate == gate::QUIC
        };
        if has_state || reflection::concerns(settings, scratch) || essential::concerns(packet) {
            return Step::Continue(());
        }
        if let Some(image) = Image::of(frame, network, packet, Extent::Flow) {
            let service = role.service;
            let Scratch { clock, sequel, .. } = scratch;
            sequel.image = image;
            (sequel.clock, sequel.policy, sequel.service) = (*clock, settings.generation, service);
        }
        Step::Continue(())
    }
}
