//! `BPF_PROG_TEST_RUN` through a descriptor that any thread may have: aya's own handle goes with its maps.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result, bail};
use aya::programs::ProgramFd;
use gateway_user::kernel::{Kernel, Program};

use super::FRAME_LENGTHS;

/// `BPF_PROG_TEST_RUN` of enum bpf_cmd (the kernel's include/uapi/linux/bpf.h).
const TEST_RUN: libc::c_long = 10;

/// The part of union bpf_attr that belongs to the command.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    program: u32,
    returned: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

const _: () = assert!(size_of::<Attributes>() == 80);

/// How much a frame may grow.
const ROOM: usize = 64;

/// A handle on the loaded program.
pub struct Runner(ProgramFd);

impl Runner {
    /// Loads the program if need be.
    ///
    /// # Errors
    /// When the verifier refuses it.
    pub fn new(kernel: &mut Kernel) -> Result<Self> {
        Ok(Self(kernel.program(Program::Plain)?.fd()?.try_clone()?))
    }

    /// Runs the program over a frame; what it returns is an XDP action.
    ///
    /// # Errors
    /// When the kernel does not take the frame.
    pub fn run(&self, frame: &[u8]) -> Result<u32> {
        self.run_into(frame, &mut [])
    }

    /// The same, and what becomes of the frame.
    ///
    /// # Errors
    /// When the kernel does not take the frame.
    pub fn answer(&self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let mut answer = vec![0; frame.len() + ROOM];
        let returned = self.run_into(frame, &mut answer)?;
        Ok((returned, answer))
    }

    fn run_into(&self, frame: &[u8], answer: &mut [u8]) -> Result<u32> {
        if !FRAME_LENGTHS.contains(&frame.len()) {
            bail!("test runs take no frame of {} bytes", frame.len());
        }
        let mut attributes = Attributes {
            program: self.0.as_fd().as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            data_size_out: answer.len() as u32,
            data_out: if answer.is_empty() { 0 } else { answer.as_mut_ptr() as u64 },
            repeat: 1,
            ..Attributes::default()
        };
        // SAFETY: the attributes are of the size that is told and live through the call; the kernel reads the frame's bytes,
        // which do so too, and writes nothing but the attributes and the answer, as far as there is room.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, TEST_RUN, &raw mut attributes, size_of::<Attributes>()) };
        if result != 0 {
            return Err(io::Error::last_os_error()).context("cannot run the program over a frame");
        }
        Ok(attributes.returned)
    }
}
