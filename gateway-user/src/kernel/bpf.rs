//! Commands of bpf(2) that aya keeps to itself: to find a link whose pin cannot be seen, to take one off whatever holds it, to read a value
//! whose size is known only then, and to write many at once.
#![expect(unsafe_code, reason = "system calls by their numbers")]

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::{maps::MapData, programs::loaded_links};
use nix::libc::{SYS_bpf, syscall};

/// Of `enum bpf_cmd` (linux/bpf.h).
const BPF_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_OBJ_PIN: i32 = 6;
const BPF_MAP_UPDATE_BATCH: i32 = 26;
const BPF_LINK_GET_FD_BY_ID: i32 = 30;
const BPF_LINK_DETACH: i32 = 34;

/// `union bpf_attr` of the commands that begin with a number or a descriptor of a link.
#[repr(C)]
#[derive(Default)]
struct OfLink {
    link: u32,
    rest: [u32; 3],
}

/// `union bpf_attr` of `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    path: u64,
    fd: RawFd,
    flags: u32,
}

/// `union bpf_attr` of `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
struct LookUp {
    map: RawFd,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of `BPF_MAP_UPDATE_BATCH`.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: RawFd,
    elem_flags: u64,
    flags: u64,
}

fn bpf<A>(command: i32, mut attributes: A) -> io::Result<i64> {
    // SAFETY: the kernel reads and writes as many bytes as it is told, which live until the call returns, and what they point to, too.
    let answer = unsafe { syscall(SYS_bpf, command, &raw mut attributes, size_of::<A>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A link by its number; takes `CAP_SYS_ADMIN`.
pub(super) fn link(id: u32) -> io::Result<OwnedFd> {
    let fd = bpf(BPF_LINK_GET_FD_BY_ID, OfLink { link: id, ..OfLink::default() })?;
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The link that holds a program on the interface of an index; takes `CAP_SYS_ADMIN`.
pub fn find_link(program: u32, interface: u32) -> Option<OwnedFd> {
    let of_program = loaded_links().flatten().filter(|link| link.program_id() == program);
    of_program
        .filter_map(|link| self::link(link.id()).ok())
        .find(|link| interface_of(link) == Some(interface))
}

/// The index of a link's interface, as the kernel tells it of each descriptor (`bpf_xdp_link_show_fdinfo` in net/core/dev.c).
fn interface_of(link: &OwnedFd) -> Option<u32> {
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd())).ok()?;
    told.lines().find_map(|line| line.strip_prefix("ifindex:"))?.trim().parse().ok()
}

/// Gives a link a name in bpffs.
pub(super) fn pin_link(link: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Pin { path: name.as_ptr() as u64, fd: link.as_raw_fd(), flags: 0 };
    bpf(BPF_OBJ_PIN, attributes).map(drop)
}

/// Takes a link's program off its interface, whoever else holds the link.
///
/// # Errors
/// When its interface is gone, or this process may not.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, OfLink { link: link.as_raw_fd() as u32, ..OfLink::default() }).map(drop)
}

/// The first value of an array, of so many bytes as the map says.
pub(super) fn first_value(map: &MapData) -> io::Result<Vec<u8>> {
    let size = map.info().map_err(io::Error::other)?.value_size();
    let (key, mut value) = (0_u32, vec![0_u8; size as usize]);
    let attributes = LookUp {
        map: map.fd().as_fd().as_raw_fd(),
        padding: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_LOOKUP_ELEM, attributes)?;
    Ok(value)
}

/// Writes many values to a map whose keys and values are words, by one call.
pub(super) fn update_batch(map: BorrowedFd<'_>, keys: &[u32], values: &[u32]) -> io::Result<()> {
    assert_eq!(keys.len(), values.len(), "a value for each key");
    let batch = Batch {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map: map.as_raw_fd(),
        elem_flags: 0,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_BATCH, batch).map(drop)
}
