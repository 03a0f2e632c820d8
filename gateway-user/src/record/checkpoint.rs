//! Checkpoints: what the tree was at a size, after C2SP tlog-checkpoint (<https://c2sp.org/tlog-checkpoint>).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::tree::Hash;

/// A note text: the log's name, the number of its leaves, the root of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// Number of rows.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The note text: three lines.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads a note text. Lines behind the third are none of ours, and are passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let is_written_so = |number: &u64| number.to_string() == size;
        let size = size.parse().ok().filter(is_written_so)?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let is_whole = !origin.is_empty() && lines.all(|line| !line.is_empty());
        is_whole.then(|| Self { origin: origin.to_owned(), size, root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_is_read() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let checkpoint = Checkpoint::parse(text).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.to_text(), text);
        assert_eq!(Checkpoint::parse(&format!("{text}extension\n")).unwrap(), checkpoint);
    }

    #[test]
    fn other_texts_are_none() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for text in [
            String::new(),
            format!("a\n1\n{root}"),
            format!("a\n01\n{root}\n"),
            format!("a\n+1\n{root}\n"),
            format!("a\n-1\n{root}\n"),
            format!("\n1\n{root}\n"),
            "a\n1\nAAAA\n".to_owned(),
            format!("a\n1\n{root}\n\n"),
        ] {
            assert_eq!(Checkpoint::parse(&text), None, "{text:?}");
        }
    }
}
