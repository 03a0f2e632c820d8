//! Captures: what `gateway replay` makes of them, and the kernel's program.

mod made;
mod outside;
