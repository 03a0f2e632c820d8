//! What there is to tell where the program cannot ask this host's sockets.

use crate::{
    kernel::{
        Kernel,
        btf::{NEEDS_SOCKETS, REMEDY},
    },
    model::document::{Off, Sockets},
};

/// For status: whether sockets are asked, and what is off where they are not.
pub(in crate::daemon) fn row(kernel: &Kernel) -> Sockets {
    let Some(why) = kernel.sockets_missing() else { return Sockets { asked: true, ..Sockets::default() } };
    let off = NEEDS_SOCKETS
        .map(|(feature, instead)| Off { feature: feature.to_owned(), instead: instead.to_owned() });
    Sockets { asked: false, why: Some(why.to_owned()), off: off.into() }
}

/// Why they are not, and what to do about it.
pub(in crate::daemon) fn warning(kernel: &Kernel) -> Option<String> {
    kernel.sockets_missing().map(|why| format!("this host's sockets are not asked: {why}; {REMEDY}"))
}
