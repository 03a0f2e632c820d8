//! Packages of any Debian release and architecture, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{output, workspace};

/// apt with lists of its own: of a Debian release that this machine need not have among its sources.
pub(crate) struct Source {
    directory: PathBuf,
    architecture: String,
}

impl Source {
    /// The lists of a release's security updates, as in `bookworm-security`, for an architecture; fetched once.
    ///
    /// # Errors
    /// When apt knows no place that has Debian's security updates, or cannot fetch the lists.
    pub(crate) fn of(release: &str, architecture: &str) -> Result<Self> {
        let directory = workspace().join("target/lane").join(format!("{release}-{architecture}"));
        let source = Self { directory, architecture: architecture.to_owned() };
        if !source.directory.join("lists/done").exists() {
            for part in ["lists/partial", "archives/partial"] {
                fs::create_dir_all(source.directory.join(part))?;
            }
            let line = format!("deb [arch={architecture}] {} {release} main\n", mirror()?);
            fs::write(source.directory.join("sources.list"), line)?;
            output(source.apt("apt-get").arg("update"))
                .with_context(|| format!("cannot fetch the lists of {release}"))?;
            fs::write(source.directory.join("lists/done"), "")?;
        }
        Ok(source)
    }

    fn apt(&self, program: &str) -> Command {
        let (directory, architecture) = (self.directory.display(), &self.architecture);
        let mut command = Command::new(program);
        command.args(["--quiet", "-o", &format!("Dir::Etc::SourceList={directory}/sources.list")]);
        command.args(["-o", "Dir::Etc::SourceParts=/dev/null"]);
        command.args(["-o", &format!("Dir::State::Lists={directory}/lists")]);
        command.args(["-o", &format!("Dir::Cache={directory}")]);
        command.args(["-o", &format!("APT::Architecture={architecture}")]);
        command.args(["-o", &format!("APT::Architectures={architecture}")]);
        command
    }

    /// The package with the highest numbers in its name, of those whose names begin so and are wanted.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn newest(&self, prefix: &str, is_wanted: impl Fn(&str) -> bool) -> Result<String> {
        let names = output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        let found = names.lines().filter(|name| is_wanted(name)).max_by_key(|name| numbers(name));
        found.map(str::to_owned).with_context(|| format!("Debian has no {prefix}* as it is wanted"))
    }

    /// Downloads packages and unpacks them, unless that is done already; `finish` is done before they count as unpacked.
    ///
    /// # Errors
    /// When one cannot be downloaded or unpacked, or `finish` fails.
    pub(crate) fn unpack(
        &self,
        packages: &[&str],
        root: &Path,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        if root.join("done").exists() {
            return Ok(());
        }
        println!("Fetching {}; unpacked into {}, and not installed.", packages.join(" "), root.display());
        let part = root.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part)?;
        output(self.apt("apt-get").arg("download").args(packages).current_dir(&part))?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
        for file in fs::read_dir(&part)?.flatten().map(|entry| entry.path()).filter(is_package) {
            output(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&part))?;
            fs::remove_file(file)?;
        }
        finish(&part)?;
        fs::write(part.join("done"), "")?;
        let _ = fs::remove_dir_all(root);
        Ok(fs::rename(part, root)?)
    }
}

/// Where this machine gets Debian's security updates from: the same place has those of other releases.
fn mirror() -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]);
    let lines = output(&mut command)?;
    let mut found = lines.lines().filter_map(|line| line.split_once(' '));
    let found = found.find(|(_, name)| name.ends_with("-security")).map(|(uri, _)| uri.to_owned());
    found.context("apt has no source of Debian's security updates, which the packages are taken from")
}

/// All numbers in a name, which sort as versions do.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}
