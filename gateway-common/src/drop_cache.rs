//! A frame that was dropped: those that match it are dropped before they are parsed.
//!
//! A debt only grows while the clock stands still, so what a bucket refused it refuses again, and who is on a list stays
//! there. So until the clock is read, a CPU that has much to do need not judge each frame of one source's flood.

use crate::{
    abi::Settings,
    env::Env,
    frame::Frame,
    image::{Extent, Image},
    pipeline::{Context, Scratch, Stage},
    rate::Reading,
    stage::essential,
    verdict::{Reason, Step, drop},
};

/// One frame, the first of its reading of the clock. It outlives the packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct DropCache {
    image: Image,
    extent: Extent,
    /// By which reading.
    clock: Reading,
    /// By which policy: [`Settings::generation`]; 0: no frame matches.
    generation: u64,
    service: u32,
    /// How many drops of the source one of them counts as: 1 or 0.
    weight: u32,
    reason: Reason,
}

impl DropCache {
    /// Keeps a frame, the first by its reading, whose like are all dropped for this reason. `weight`: 1 where the
    /// [drop counter](crate::table::drops::DropCounter) has counted the drop, 0 where it is to be counted nowhere.
    #[inline(always)]
    pub fn remember<F: Frame, E: Env>(
        frame: &F,
        context: &Context<'_, E>,
        scratch: &mut Scratch,
        extent: Extent,
        weight: u32,
        reason: Reason,
    ) {
        let Scratch { clock, drop_cache: cache, .. } = scratch;
        // An image is of an Ethernet frame.
        if !F::HAS_ETHERNET || clock.late == 0 || *clock == cache.clock {
            return;
        }
        (cache.extent, cache.weight, cache.reason, cache.clock, cache.generation) =
            (extent, weight, reason, *clock, 0);
        let _ = context.env.apart(Stage::Learn, frame, context, scratch);
    }

    /// Completes what is kept of a frame.
    #[inline(always)]
    pub fn learn<F: Frame, E: Env>(frame: &F, context: &Context<'_, E>, scratch: &mut Scratch) -> Step {
        let Scratch { network, packet, role, drop_cache: cache, .. } = scratch;
        // What must come through may look like what need not.
        if cache.extent == Extent::Kind && essential::concerns(packet) {
            return Step::Continue(());
        }
        if let Some(image) = Image::of(frame, network, packet, cache.extent) {
            cache.image = image;
            cache.service = role.service;
            cache.generation = context.settings.generation;
        }
        Step::Continue(())
    }

    /// Drops a frame that matches the one that is kept.
    #[inline(always)]
    pub fn repeat<F: Frame>(frame: &F, length: u32, settings: &Settings, scratch: &mut Scratch) -> Step {
        let Scratch { clock, role, drop_cache: cache, drop_counter, .. } = scratch;
        // Mostly there is none by this reading.
        if !F::HAS_ETHERNET || clock.latest != cache.clock.latest {
            return Step::Continue(());
        }
        let other = (clock.late ^ cache.clock.late) | (settings.generation ^ cache.generation);
        // The one that makes the bulk full goes the long way.
        if (other | cache.image.difference(frame, length)) != 0 || !drop_counter.count_again(cache.weight) {
            return Step::Continue(());
        }
        role.service = cache.service;
        drop(cache.reason)
    }

    /// Forgets a frame whose like the drop counter counts: it begins to count for another source.
    #[inline(always)]
    pub const fn forget_counted(&mut self) {
        if self.weight != 0 {
            (self.generation, self.clock.late) = (0, 0);
        }
    }
}
