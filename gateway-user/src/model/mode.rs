//! The modes of the gateway, of a service and of a class.

use super::keyword::keywords;

keywords! {
    /// What verdicts do.
    #[derive(Default)]
    Mode {
        /// Drops what the policy says.
        Enforce = "enforce",
        /// Decides, counts and reports as in enforce mode, but passes.
        #[default]
        Monitor = "monitor",
        /// Only counts.
        Off = "off",
    }
}
