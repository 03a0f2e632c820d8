//! Programs of a later Debian release than the machine's, out of a tree of their own that `cargo xtask soak` lays down: curl and
//! nginx with HTTP/3, and OpenSSL with post-quantum key shares.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// Where `cargo xtask soak` lays it, below the workspace.
const ROOT: &str = "target/newer";

/// The tree.
pub struct Newer(PathBuf);

impl Newer {
    /// Finds it.
    ///
    /// # Errors
    /// Where it is not.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(ROOT);
        ensure!(
            root.join("usr/sbin/nginx").is_file(),
            "{ROOT} is missing: `cargo xtask setup --soak` makes it"
        );
        Ok(Self(root))
    }

    /// A command that starts one of its programs, with its own libraries.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let mut command = Command::new(self.loader());
        command.arg("--library-path").arg(self.0.join(libraries)).arg(self.0.join(program));
        command
    }

    fn loader(&self) -> PathBuf {
        let name = match std::env::consts::ARCH {
            "aarch64" => "usr/lib/ld-linux-aarch64.so.1",
            _ => "usr/lib64/ld-linux-x86-64.so.2",
        };
        self.0.join(name)
    }
}
