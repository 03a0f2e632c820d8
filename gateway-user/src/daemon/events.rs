//! Telling of events.

use crate::{
    event_rows::outgoing,
    live,
    model::{Event, Happened},
    store::Outgoing,
};

use super::{part::hub::Kept, state::Gateway};

impl Gateway {
    /// Tells of an event at a time in Unix milliseconds; `frame`: the first bytes of what was dropped.
    pub(super) fn tell_at(&mut self, at: u64, what: Happened, frame: Option<Box<[u8]>>) {
        self.hub.push(Kept { event: Event::new(at, what), frame });
    }

    /// Tells of an event of now; gives its row for the record.
    pub(super) fn tell(&mut self, what: Happened) -> Outgoing {
        let row = outgoing(&what, self.config.audit.sources);
        self.tell_at(live::now_ms(), what, None);
        row
    }

    /// Tells of an event of now, and puts it down in the record.
    pub(super) fn put_down_event(&mut self, what: Happened) {
        let row = self.tell(what);
        drop(self.keep(vec![row]));
    }
}
