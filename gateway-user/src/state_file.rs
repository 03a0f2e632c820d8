//! Files that the daemon keeps for itself: for its own user alone, whole or not there, and nothing that another user put in their place.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// The longest file that is read: a hundred thousand entries, and more than anybody sets by hand.
const LONGEST: u64 = 64 << 20;
/// Rights of files, and of directories that are made.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Damaged files that are put aside, beside each other, before the last is written over.
const ASIDE_MAX: u32 = 9;

/// Reads a file; nothing where there is none. Its rights are made narrow.
///
/// # Errors
/// Where it cannot be read, is too long, or is no regular file: nothing is followed, and nothing waited for.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let opened = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    narrow(&file)?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("it is longer than {} MiB", LONGEST >> 20)));
    }
    Ok(Some(bytes))
}

/// Writes a file, whole or not at all: it is on the disk before it has its name, and its name before this returns.
///
/// # Errors
/// Where a directory cannot be made or the file not be written.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = directory_of(path)?;
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(FILE_MODE).custom_flags(O_NOFOLLOW).open(&beside)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    File::open(directory)?.sync_all()
}

/// Makes ready the place of a file that somebody else opens: its directory is there, and what is there of it is a regular file with narrow
/// rights.
///
/// # Errors
/// Where it is not so.
pub fn prepare(path: &Path) -> io::Result<()> {
    directory_of(path)?;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    narrow(&options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?)
}

/// Puts a damaged file aside, with what belongs to it under the same name and an end of its own; its name now.
///
/// # Errors
/// Where it cannot be renamed.
pub fn put_aside(path: &Path, ends: &[&str]) -> io::Result<PathBuf> {
    let name = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let is_free = |end: &String| fs::symlink_metadata(name(end)).is_err();
    let numbered = (1..=ASIDE_MAX).map(|number| format!(".bad.{number}"));
    let aside = std::iter::once(".bad".to_owned()).chain(numbered).find(is_free);
    let aside = aside.unwrap_or_else(|| format!(".bad.{ASIDE_MAX}"));
    fs::rename(path, name(&aside))?;
    for end in ends.iter().filter(|end| fs::symlink_metadata(name(end)).is_ok()) {
        fs::rename(name(end), name(&format!("{aside}{end}")))?;
    }
    Ok(name(&aside))
}

/// Where a damaged file is now, for people.
pub fn moved(aside: io::Result<PathBuf>) -> String {
    match aside {
        Ok(aside) => format!("it lies in {} now", aside.display()),
        Err(error) => format!("it cannot be moved away either ({error})"),
    }
}

/// The directory of a file, made if need be. One that others may write to is none: they could put their own file in the place of ours.
fn directory_of(path: &Path) -> io::Result<&Path> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    if !is_safe(directory)? {
        let directory = directory.display();
        let message = format!("other users may write to {directory}; chown root and chmod 0755 it");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(directory)
}

/// Whether nobody but root and the own user can take something out of a directory, so that what is done there by name is done to what was
/// made there.
///
/// # Errors
/// Where it cannot be looked at.
pub fn is_safe(directory: &Path) -> io::Result<bool> {
    let found = fs::metadata(directory)?;
    let is_ours = [0, nix::unistd::geteuid().as_raw()].contains(&found.uid());
    let (is_shared, is_sticky) = (found.mode() & 0o022 != 0, found.mode() & 0o1000 != 0);
    Ok(is_ours && (!is_shared || is_sticky))
}

/// Takes rights of others away. A pipe, a device or a directory is refused.
fn narrow(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(metadata.mode() & 0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_read_and_nobody_elses() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state/live.json");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        read(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        prepare(&path).unwrap();
        assert_eq!((mode(&path), read(&path).unwrap().as_deref()), (0o600, Some(&b"two"[..])));
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused_at_once() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", at("link")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        for name in ["pipe", "link", "directory"] {
            assert!(read(&at(name)).is_err() && prepare(&at(name)).is_err(), "{name}");
        }
        // Written through no link.
        fs::write(at("target"), "mine").unwrap();
        symlink(at("target"), at("live.new")).unwrap();
        write(&at("live.json"), b"ours").unwrap();
        assert_eq!(fs::read(at("target")).unwrap(), b"mine");
        fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
        let error = write(&at("live.json"), b"ours").unwrap_err().to_string();
        assert!(error.contains("other users may write"), "{error}");
    }

    #[test]
    fn damaged_files_lie_beside_each_other() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bans.db");
        for number in 0..12 {
            fs::write(&path, number.to_string()).unwrap();
            fs::write(place.path().join("bans.db-wal"), "log").unwrap();
            put_aside(&path, &["-wal", "-shm"]).unwrap();
            assert!(!path.exists() && !place.path().join("bans.db-wal").exists());
        }
        let text = |name: &str| fs::read_to_string(place.path().join(name)).unwrap();
        assert_eq!(
            (text("bans.db.bad"), text("bans.db.bad.1"), text("bans.db.bad.9")),
            ("0".into(), "1".into(), "11".into())
        );
        assert_eq!(text("bans.db.bad-wal"), "log");
    }
}
