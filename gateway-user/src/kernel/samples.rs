//! Samples of drops, as the program tells of them.

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use gateway_common::abi::Sample;
use zerocopy::FromBytes as _;

use super::{Kernel, KernelError, take::take};

/// Reads samples, in their order. They wake nobody up: they are to be read in intervals.
pub struct Samples(RingBuf<MapData>);

impl Samples {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        take(ebpf, "samples").map(Self)
    }
}

impl Iterator for Samples {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        let entry = self.0.next()?;
        Sample::read_from_bytes(&entry).ok()
    }
}

impl Kernel {
    /// Samples of drops, those that wait.
    pub const fn samples(&mut self) -> &mut Samples {
        &mut self.samples
    }

    /// Samples that found no room, over all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn samples_lost(&self) -> Result<u64, KernelError> {
        Ok(self.samples_lost.get(&0, 0)?.iter().sum())
    }
}
