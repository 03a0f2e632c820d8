//! Connections whose opening the program refused, as it tells of them.

use std::os::fd::{AsFd, BorrowedFd};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use gateway_common::abi::Refusal;
use zerocopy::FromBytes as _;

use super::{KernelError, take::take};

/// Reads what the program tells, in its order. The descriptor is ready while there is something to read.
pub struct Refusals(RingBuf<MapData>);

impl Refusals {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        take(ebpf, "refusals").map(Self)
    }
}

impl Iterator for Refusals {
    type Item = Refusal;

    fn next(&mut self) -> Option<Refusal> {
        let entry = self.0.next()?;
        Refusal::read_from_bytes(&entry).ok()
    }
}

impl AsFd for Refusals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
