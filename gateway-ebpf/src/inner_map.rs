//! Maps inside of maps, told by sizes alone.
//!
//! A map of maps takes a map only if it is like the template that it was made with. Linux before 6.2 also compares what
//! BTF says of the template's values (`bpf_map_meta_equal` in kernel/bpf/map_in_map.c: `timer_off` is -ENOENT if BTF
//! shows no timer, and -EINVAL without BTF), and user space makes inner maps without BTF. So the template has none
//! either: its definition names sizes, where aya's names types (`key_size` and `value_size` of libbpf's map
//! definitions).

use aya_ebpf::helpers::bpf_map_lookup_elem;

/// The template of a map: type, size of keys and values, entries, flags.
#[repr(C)]
pub(crate) struct InnerMap<
    const TYPE: usize,
    const KEY: usize,
    const VALUE: usize,
    const ENTRIES: usize,
    const FLAGS: usize,
> {
    r#type: *const [i32; TYPE],
    key_size: *const [i32; KEY],
    value_size: *const [i32; VALUE],
    max_entries: *const [i32; ENTRIES],
    map_flags: *const [i32; FLAGS],
}

impl<const TYPE: usize, const KEY: usize, const VALUE: usize, const ENTRIES: usize, const FLAGS: usize>
    InnerMap<TYPE, KEY, VALUE, ENTRIES, FLAGS>
{
    /// The value of a key.
    #[inline(always)]
    pub(crate) fn get<K, V>(&self, key: &K) -> Option<&V> {
        const { assert!(size_of::<K>() == KEY && size_of::<V>() == VALUE) };
        let map = core::ptr::from_ref(self).cast_mut();
        // SAFETY: a map of keys and values of these sizes; an entry lives as long as the program runs, and user space
        // changes no entry of a map that is in its place.
        unsafe { bpf_map_lookup_elem(map.cast(), core::ptr::from_ref(key).cast()).cast::<V>().as_ref() }
    }
}
