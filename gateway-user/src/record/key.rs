//! The key that signs checkpoints: `record.key`, and what verifies them: `record.vkey`.
//!
//! The key is no part of any database: whoever gets a copy of the rows cannot sign with it. Its file is locked as long as the record is
//! written, so that no two processes do.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use rand::{TryRngCore as _, rngs::OsRng};

use super::{RecordError, names, note::Signer};

const KEY: &str = "record.key";
const VKEY: &str = "record.vkey";
/// Longer is no key, in bytes.
const LONGEST: u64 = 4096;

/// The key of a directory, made at the first start with `origin` as its name, and the lock that comes with it. Why a new one had to be
/// made in place of one that was there goes to `warnings`.
pub(super) fn load_or_make(
    directory: &Path,
    origin: &str,
    warnings: &mut Vec<String>,
) -> Result<(Signer, File), RecordError> {
    let path = directory.join(KEY);
    let error = RecordError::file(&path);
    let mut file = open_locked(directory)?;
    let mut text = String::new();
    // Bytes that are no text are no key either.
    let is_read = (&file).take(LONGEST).read_to_string(&mut text).is_ok();
    if let (true, Ok(signer)) = (is_read, Signer::parse(text.trim_end())) {
        keep_vkey(directory, &signer, warnings);
        return Ok((signer, file));
    }
    // Empty it is at the first start, or where that one ended here.
    let is_new = is_read && text.is_empty();
    let has_vkey = directory.join(VKEY).exists();
    let seed = seed().map_err(&error)?;
    let signer = Signer::new(origin, seed).map_err(|cause| RecordError::Key { path: path.clone(), cause })?;
    if !is_new {
        let aside = names::set_aside(&path).map_err(&error)?;
        warnings.push(format!("{KEY} was damaged, and is {} now", aside.display()));
        file = open_locked(directory)?;
    }
    if !is_new || has_vkey {
        let hint = format!("{VKEY} has it in a line of its own");
        warnings.push(format!("the key of the record is gone; a new one signs from now on, and {hint}"));
    }
    write(&mut file, &signer.to_text()).map_err(&error)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(&error)?;
    keep_vkey(directory, &signer, warnings);
    Ok((signer, file))
}

fn open_locked(directory: &Path) -> Result<File, RecordError> {
    let path = directory.join(KEY);
    let error = RecordError::file(&path);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(&path).map_err(&error)?;
    if !file.metadata().map_err(&error)?.is_file() {
        return Err(error(io::Error::other("it is no regular file")));
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(RecordError::InUse(directory.to_owned())),
        Err(TryLockError::Error(cause)) => return Err(error(cause)),
    }
    file.set_permissions(Permissions::from_mode(0o600)).map_err(&error)?;
    Ok(file)
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// Sees to it that a line of `record.vkey` is the key's. Lines of earlier keys stay: they verify earlier checkpoints.
fn keep_vkey(directory: &Path, signer: &Signer, warnings: &mut Vec<String>) {
    let path = directory.join(VKEY);
    let vkey = signer.verifier().to_text();
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept.lines().any(|line| line == vkey) {
        return;
    }
    let written = fs::write(&path, format!("{kept}{vkey}\n"))
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
    if let Err(error) = written {
        warnings.push(format!("{VKEY} cannot be written: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(directory: &Path) -> (Signer, Vec<String>) {
        let mut warnings = Vec::new();
        let (signer, _) = load_or_make(directory, "gateway.example/record", &mut warnings).unwrap();
        (signer, warnings)
    }

    #[test]
    fn a_key_is_made_once_and_is_its_owners() {
        let place = tempfile::tempdir().unwrap();
        let (signer, warnings) = load(place.path());
        assert_eq!(warnings, [""; 0]);
        assert_eq!(load(place.path()).0.to_text(), signer.to_text());
        let mode = fs::metadata(place.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let vkey = fs::read_to_string(place.path().join(VKEY)).unwrap();
        assert_eq!(vkey, format!("{}\n", signer.verifier().to_text()));
    }

    #[test]
    fn a_damaged_or_lost_key_is_told() {
        let place = tempfile::tempdir().unwrap();
        let (first, _) = load(place.path());
        fs::write(place.path().join(KEY), b"\xffno key").unwrap();
        let (second, warnings) = load(place.path());
        assert!(warnings[0].contains("record.key.bad") && warnings[1].contains("new one"), "{warnings:?}");
        fs::remove_file(place.path().join(KEY)).unwrap();
        let (third, warnings) = load(place.path());
        assert!(warnings.len() == 1 && warnings[0].contains("new one"), "{warnings:?}");
        let vkeys = [&first, &second, &third].map(|signer| signer.verifier().to_text());
        assert_eq!(fs::read_to_string(place.path().join(VKEY)).unwrap(), vkeys.join("\n") + "\n");
    }

    #[test]
    fn two_processes_do_not_share_it() {
        let place = tempfile::tempdir().unwrap();
        let mut warnings = Vec::new();
        let held = load_or_make(place.path(), "a", &mut warnings).unwrap();
        let error = load_or_make(place.path(), "a", &mut warnings).unwrap_err();
        assert!(matches!(error, RecordError::InUse(_)), "{error}");
        drop(held);
        load_or_make(place.path(), "a", &mut warnings).unwrap();
        let error = load_or_make(&place.path().join("none"), "a b", &mut warnings).unwrap_err();
        assert!(matches!(error, RecordError::File { .. }), "{error}");
    }
}
