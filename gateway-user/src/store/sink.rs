//! Checkpoints off the host: a thread hands them on, so that nothing waits for another host.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::model::CheckpointTo;

/// Checkpoints that wait for one that takes long; further ones are left out, and the next one covers their rows.
const WAITING: usize = 16;
/// A command gets so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A thread that hands checkpoints on.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// Nothing: there is no thread yet.
    notes: Option<mpsc::SyncSender<(CheckpointTo, String)>>,
    /// Why the last one did not arrive.
    trouble: Arc<Mutex<Option<String>>>,
}

impl Sink {
    /// Hands a signed note on.
    pub(super) fn send(&mut self, to: &CheckpointTo, note: &str) {
        let notes = self.notes.get_or_insert_with(|| {
            let (sender, notes) = mpsc::sync_channel(WAITING);
            let trouble = Arc::clone(&self.trouble);
            // Without a thread all that is sent is told as not taken.
            let _ = thread::Builder::new()
                .name("checkpoints".to_owned())
                .spawn(move || hand_on(&notes, &trouble));
            sender
        });
        if notes.try_send((to.clone(), note.to_owned())).is_err() {
            *lock(&self.trouble) = Some("those before are still on their way".to_owned());
        }
    }

    /// Why the last one did not arrive.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }
}

fn lock(trouble: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hand_on(notes: &mpsc::Receiver<(CheckpointTo, String)>, trouble: &Mutex<Option<String>>) {
    for (to, note) in notes {
        let (name, outcome) = match &to {
            CheckpointTo::File(path) => (path.display().to_string(), append(path, &note)),
            CheckpointTo::Command(words) => (words.join(" "), run(words, &note)),
        };
        *lock(trouble) = outcome.err().map(|error| format!("{name}: {error}"));
    }
}

/// Appends a note to a file; a blank line goes before the next one.
fn append(path: &Path, note: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
    file.write_all(format!("{note}\n").as_bytes())?;
    file.sync_all()
}

/// Gives a note to a command, and waits for its end.
fn run(words: &[String], note: &str) -> io::Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(note.as_bytes()) {
            // It may need none of it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(status.to_string())),
            None if Instant::now() < end => thread::sleep(LOOK),
            None => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long, and was ended"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settled(sink: &Sink, is: impl Fn(Option<String>) -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if is(sink.trouble()) {
                return true;
            }
            thread::sleep(LOOK);
        }
        false
    }

    #[test]
    fn a_note_reaches_a_file_and_a_command() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let mut sink = Sink::default();
        sink.send(&CheckpointTo::File(path.clone()), "one\n");
        let words = ["/bin/sh", "-c", "cat >> \"$1\"", "sh", path.to_str().unwrap()].map(str::to_owned);
        sink.send(&CheckpointTo::Command(words.into()), "two\n");
        assert!(settled(&sink, |_| fs::read_to_string(&path).is_ok_and(|text| text == "one\n\ntwo\n")));
        assert_eq!(sink.trouble(), None);
    }

    #[test]
    fn what_does_not_arrive_is_told_until_one_does() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = Sink::default();
        sink.send(&CheckpointTo::Command(vec!["/bin/false".to_owned()]), "one\n");
        assert!(settled(&sink, |trouble| trouble.is_some_and(|text| text.contains("/bin/false"))));
        sink.send(&CheckpointTo::File(directory.path().join("nowhere/notes")), "two\n");
        assert!(settled(&sink, |trouble| trouble.is_some_and(|text| text.contains("nowhere"))));
        sink.send(&CheckpointTo::File(directory.path().join("notes")), "three\n");
        assert!(settled(&sink, |trouble| trouble.is_none()));
    }
}
