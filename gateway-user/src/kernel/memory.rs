//! How large the tables may be where a cgroup limits memory: what is above its limit, the kernel refuses, or ends the process for.

use gateway_common::tables::TableSizes;

use super::cause::Memory;

/// What a start takes at most from here on, beside these tables: bans (40 MiB), and what the verifier and the controller need. Measured; see
/// docs/kernels.md.
const BESIDE: u64 = 50 << 20;
/// Such a part of the tables is tried, one after the other.
const PARTS: [u32; 3] = [1, 4, 16];

/// The largest tables for which the memory that is left suffices, and what the operator should know of it.
pub(crate) fn tables(whole: TableSizes) -> (TableSizes, Option<String>) {
    fitting(whole, Memory::of_this_process().as_ref())
}

fn fitting(whole: TableSizes, memory: Option<&Memory>) -> (TableSizes, Option<String>) {
    let Some(memory) = memory else { return (whole, None) };
    let fits = |part: &&u32| BESIDE + whole.divided(**part).bytes() <= memory.left();
    match PARTS.iter().find(fits) {
        Some(1) => (whole, None),
        Some(&part) => {
            (whole.divided(part), Some(format!("tables have 1/{part} of their size: {}", memory.told())))
        }
        None => {
            let part = PARTS[PARTS.len() - 1];
            let told = format!(
                "tables have 1/{part} of their size, and even so the kernel may end the gateway for want of memory: {}",
                memory.told()
            );
            (whole.divided(part), Some(told))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_as_large_as_the_memory_that_is_left() {
        let whole = TableSizes::default();
        assert_eq!(whole.bytes() >> 20, 32);
        for (left, part, is_told) in [(84, 1, false), (60, 4, true), (53, 16, true), (30, 16, true)] {
            let memory = Memory { cgroup: "/g".into(), limit: 100 << 20, used: (100 - left) << 20 };
            let (tables, told) = fitting(whole, Some(&memory));
            assert_eq!((tables, told.is_some()), (whole.divided(part), is_told), "{left} MiB");
        }
        assert_eq!(fitting(whole, None), (whole, None));
    }
}
