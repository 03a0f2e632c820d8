//! Reads text files of bounded size.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::model::wrong::Wrong;

/// The longest file that is read, in bytes: two million IPv6 prefixes with room for comments.
const FILE_MAX: u64 = 256 << 20;

/// The text of a regular file.
pub(super) fn read(path: &Path) -> Result<String, Wrong> {
    text(path, bytes(path)?)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Wrong> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count() + 1;
        let message = format!("{} is no UTF-8 text: line {line} has other bytes", path.display());
        Wrong::new(message, "save the file as UTF-8")
    })
}

/// The same of whatever can be read, for somebody who waits and can stop: pipes, and standard input by the name `-`.
pub(super) fn read_stream(path: &Path) -> Result<String, Wrong> {
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    text(path, all(path)?)
}

/// The same of a file that others write: bytes that are no UTF-8, as in a comment, are shown in place.
pub(super) fn read_lossy(path: &Path) -> Result<String, Wrong> {
    Ok(String::from_utf8(bytes(path)?)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The bytes of a regular file. A device or a pipe could block or never end, and is refused.
fn bytes(path: &Path) -> Result<Vec<u8>, Wrong> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(Wrong::new(format!("{} is no regular file", path.display()), "name a file"));
    }
    all(path)
}

/// All that can be read there, up to the longest file.
fn all(path: &Path) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Wrong::new(format!("{} is longer than 256 MiB", path.display()), "name a shorter file"));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Wrong {
    let help = match error.kind() {
        std::io::ErrorKind::NotFound => "create the file or name another",
        std::io::ErrorKind::PermissionDenied => "make the file readable for the user that runs the gateway",
        _ => "name a readable file",
    };
    Wrong::new(format!("cannot read {}: {error}", path.display()), help)
}
