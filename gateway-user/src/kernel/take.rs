//! Maps out of the object.

use aya::{Ebpf, maps::Map};

use super::KernelError;

/// Takes a map out of the object under its type.
pub(super) fn take<M: TryFrom<Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, KernelError> {
    Ok(ebpf.take_map(name).ok_or(KernelError::NoMap(name))?.try_into()?)
}
