//! What has happened of late: kept for a while for the one who asks, and told to the ones who follow.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::{
    control::protocol::{Reply, Row},
    model::{Event, EventFilter, Happened},
};

/// Drops that are kept, and events of all other kinds.
const KEPT: usize = 4_096;
/// Events that a follower may be behind; after that it is cut off.
const BEHIND: usize = 2_048;

/// An event with its frame's first bytes.
pub(in crate::daemon) struct Kept {
    pub(in crate::daemon) event: Event,
    pub(in crate::daemon) frame: Option<Box<[u8]>>,
}

impl Kept {
    fn row(&self, has_frame: bool) -> Row {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let frame = self.frame.as_deref().filter(|_| has_frame).map(hex);
        Row::Event(Box::new(Event { frame, ..self.event.clone() }))
    }
}

/// A client that follows.
struct Follower {
    filter: EventFilter,
    frames: bool,
    rows: mpsc::Sender<Row>,
}

/// The events of late, and the clients that follow.
#[derive(Default)]
pub(in crate::daemon) struct Hub {
    drops: VecDeque<Kept>,
    others: VecDeque<Kept>,
    followers: Vec<Follower>,
    /// Drops that found no room on the way here, ever.
    pub(in crate::daemon) lost: u64,
}

impl Hub {
    pub(in crate::daemon) fn push(&mut self, kept: Kept) {
        self.followers.retain(|follower| {
            let is_wanted = follower.filter.takes(&kept.event);
            // A client that is too slow hears of it by the end of its list.
            !follower.rows.is_closed()
                && (!is_wanted || follower.rows.try_send(kept.row(follower.frames)).is_ok())
        });
        let of_its_kind = match kept.event.what {
            Happened::Drop(_) => &mut self.drops,
            _ => &mut self.others,
        };
        if of_its_kind.len() == KEPT {
            of_its_kind.pop_front();
        }
        of_its_kind.push_back(kept);
    }

    /// The events that are kept and asked for, in the order of their times.
    fn past(&self, filter: &EventFilter, frames: bool) -> Vec<Row> {
        let all = self.drops.iter().chain(&self.others).filter(|kept| filter.takes(&kept.event));
        let mut past: Vec<&Kept> = all.collect();
        past.sort_by_key(|kept| kept.event.at);
        past.into_iter().map(|kept| kept.row(frames)).collect()
    }

    /// Answers a client that asks, or begins to follow: from now on, unless it asks for what was before.
    pub(in crate::daemon) fn answer(&mut self, filter: &EventFilter, follow: bool, frames: bool) -> Reply {
        if !follow {
            return Reply::Rows(self.past(filter, frames));
        }
        let past = if filter.since.is_some() { self.past(filter, frames) } else { Vec::new() };
        let (rows, follows) = mpsc::channel(past.len() + BEHIND);
        for row in past {
            // There is room.
            let _ = rows.try_send(row);
        }
        self.followers.push(Follower { filter: filter.clone(), frames, rows });
        Reply::Stream(follows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hub: &mut Hub, at: u64) {
        hub.push(Kept { event: Event::new(at, Happened::Lost { samples: 1 }), frame: None });
    }

    #[test]
    fn the_last_events_are_kept_and_followers_get_the_next() {
        let mut hub = Hub::default();
        for time in 0..5_000 {
            at(&mut hub, time);
        }
        let Reply::Rows(rows) = hub.answer(&EventFilter::default(), false, false) else { panic!("no rows") };
        assert_eq!(rows.len(), KEPT);
        let since = EventFilter { since: Some(4_999), ..EventFilter::default() };
        let Reply::Stream(mut rows) = hub.answer(&since, true, false) else { panic!("no stream") };
        at(&mut hub, 5_000);
        let times: Vec<u64> = std::iter::from_fn(|| rows.try_recv().ok())
            .map(|row| if let Row::Event(event) = row { event.at } else { 0 })
            .collect();
        assert_eq!(times, [4_999, 5_000]);
        for time in 0..=BEHIND as u64 {
            at(&mut hub, 6_000 + time);
        }
        at(&mut hub, 9_000);
        assert!(hub.followers.is_empty(), "one that does not read is cut off");
    }
}
