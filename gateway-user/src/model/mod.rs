//! The floor of the controller: the words that configuration, command line, control protocol, daemon and record share.
//!
//! Pure: every other module may use it, and it uses gateway-common alone.

mod actor;
mod checkpoint_to;
pub mod document;
mod dropped;
mod event;
mod event_filter;
mod fact;
mod flood;
pub(crate) mod keyword;
mod limit_scope;
mod mode;
mod order;
mod origin;
mod prefix;
mod quota;
mod remark;
mod session;
#[cfg(test)]
mod tests;
pub(crate) mod units;
pub(crate) mod wrong;

pub use gateway_common::{limit::rate::Dimension, verdict::Action as Outcome};

pub use actor::{Actor, User};
pub use checkpoint_to::CheckpointTo;
pub use dropped::Dropped;
pub use event::{Event, Happened};
pub use event_filter::{EventFilter, EventKind};
pub use fact::{Fact, What};
pub use flood::{Flood, Phase, Share};
pub use limit_scope::{LimitScope, LimitScopeError};
pub use mode::Mode;
pub use order::Order;
pub use origin::{Origin, OriginName};
pub use prefix::{Prefix, PrefixError};
pub(crate) use quota::Part;
pub use quota::{Quota, Quotas};
pub use remark::{REMARK_MAX, Remark, RemarkError, is_invisible};
pub use session::Session;
pub use units::{duration_text, parse_duration};
