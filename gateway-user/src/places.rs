//! Places for clients of a socket: so many at once, and nobody who says nothing keeps others out.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

/// How long a client that has asked keeps its place, should all others be taken.
const GRACE: Duration = Duration::from_secs(1);

/// The places of one socket, or of one kind of its clients.
#[derive(Debug)]
pub struct Places {
    most: usize,
    next: AtomicU64,
    /// In the order in which they came.
    taken: Mutex<Vec<Taken>>,
    left: Notify,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    since: Instant,
    has_asked: bool,
    /// Dropped, it shows the client out.
    _out: oneshot::Sender<()>,
}

/// A client's place; dropped, it is free.
#[derive(Debug)]
pub struct Place {
    number: u64,
    out: oneshot::Receiver<()>,
    places: Arc<Places>,
}

impl Places {
    /// So many places.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, next: AtomicU64::new(0), taken: Mutex::default(), left: Notify::new() })
    }

    /// A place. Where all are taken, the client goes that came first of those that have asked nothing yet, else of those that asked long
    /// ago. Nothing where all have asked just now.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.len() >= self.most {
            let silent = taken.iter().position(|one| !one.has_asked);
            let slow = || taken.iter().position(|one| one.since.elapsed() > GRACE);
            let goes = silent.or_else(slow)?;
            taken.remove(goes);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, out) = oneshot::channel();
        taken.push(Taken { number, since: Instant::now(), has_asked: false, _out: sender });
        Some(Place { number, out, places: Arc::clone(self) })
    }

    /// Waits until all are free.
    pub async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The client has asked: it is not shown out before those who have not.
    pub fn has_asked(&self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.iter_mut().find(|one| one.number == self.number) {
            (own.has_asked, own.since) = (true, Instant::now());
        }
    }

    /// Whether the place has been given to another.
    pub fn is_lost(&mut self, context: &mut Context<'_>) -> bool {
        Pin::new(&mut self.out).poll(context) != Poll::Pending
    }

    /// Waits until it is.
    pub async fn lost(&mut self) {
        let _ = (&mut self.out).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|one| one.number != self.number);
        self.places.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_says_nothing_goes_first() {
        let places = Places::new(3);
        let mut all: Vec<Place> = (0..3).filter_map(|_| places.enter()).collect();
        all[0].has_asked();
        let fourth = places.enter().expect("the second goes");
        all[1].lost().await;
        // Of two that say nothing the one that came first.
        let fifth = places.enter().expect("the third goes");
        all[2].lost().await;
        fourth.has_asked();
        fifth.has_asked();
        assert!(places.enter().is_none(), "all have just asked");
        tokio::time::sleep(GRACE + Duration::from_millis(50)).await;
        assert!(places.enter().is_some());
        all[0].lost().await;
        drop((all, fifth));
        assert!(!places.lock().is_empty());
        let empty = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.empty().await }
        });
        fourth.has_asked();
        drop(fourth);
        empty.await.unwrap();
    }
}
