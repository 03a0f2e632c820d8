//! `gateway events`.

use super::{clean, moment};
use crate::model::Event;

/// An event as a line: time, kind, and what has happened.
pub fn event(event: &Event) -> String {
    let kind = event.what.kind();
    format!("{}  {kind:<6}  {}", moment(event.at / 1_000), clean(&event.what.to_string()))
}
