//! The drop cache of the CPU that the program runs on.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use gateway_common::{
    abi::{DROP_REST_WORDS, DROP_SET_WORDS},
    env::DropSets,
};

use crate::{array::at, atomics::MapWords, constants, maps};

/// This CPU's drop cache.
#[derive(Clone, Copy, Default)]
pub(crate) struct CpuDrops;

impl DropSets for CpuDrops {
    type Set = MapWords<DROP_SET_WORDS>;
    type Rest = MapWords<DROP_REST_WORDS>;

    #[inline(always)]
    fn index(self, number: u32) -> u32 {
        // SAFETY: the helper takes no argument.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        (cpu * constants::DROP_SETS.load()).wrapping_add(number)
    }

    #[inline(always)]
    fn set(self, index: u32) -> Option<Self::Set> {
        at(&maps::DROP_CACHE, index).and_then(MapWords::new)
    }

    #[inline(always)]
    fn rest(self, index: u32) -> Option<Self::Rest> {
        at(&maps::DROP_CACHE_REST, index).and_then(MapWords::new)
    }
}
