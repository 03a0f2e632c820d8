//! Values that are one word out of a few: the same words in the configuration, on the command line and in output.

use super::wrong::{Wrong, listed, quoted, suggestion};

/// A type whose values are words.
pub(crate) trait Keyword: Copy + 'static {
    /// All values with their words.
    const KEYWORDS: &'static [(&'static str, Self)];
}

/// The value that a word stands for.
pub(crate) fn parse<K: Keyword>(text: &str) -> Result<K, Wrong> {
    if let Some((_, value)) = K::KEYWORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<_> = K::KEYWORDS.iter().map(|(word, _)| *word).collect();
    // Nobody means another version than the one written.
    let guess = suggestion(text, &words).filter(|_| !text.starts_with(|c: char| c.is_ascii_digit()));
    let meant = guess.map(|word| format!("did you mean `{word}`? ")).unwrap_or_default();
    Err(Wrong::new(
        format!("{} is not one of the words that can stand here", quoted(text)),
        format!("{meant}possible: {}", listed(&words)),
    ))
}

/// Defines an enum with its words, and the conversions from and to them.
macro_rules! keywords {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word for it in configuration, command line and output.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl $crate::model::keyword::Keyword for $name {
            const KEYWORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];
        }

        impl clap::ValueEnum for $name {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),+]
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                Some(clap::builder::PossibleValue::new(self.name()))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            /// What is wrong and which words there are.
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $crate::model::keyword::parse(text).map_err(|wrong| wrong.to_string())
            }
        }
    };
}
pub(crate) use keywords;
