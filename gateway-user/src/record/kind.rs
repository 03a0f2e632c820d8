//! What a row is about.

use std::fmt;

/// What a row is about. Names and numbers stay as they are for good: the number is in the files, the name in the hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A change by an operator, a reload, a timer.
    Change,
    /// A prefix is banned, or let go.
    Ban,
    /// A flood begins, goes on or is over.
    Flood,
    /// Drops of a time, summed up.
    Drops,
    /// The daemon starts.
    Start,
    /// The daemon stops.
    Stop,
    /// Something does not work, or works again.
    Fault,
    /// Events are missing that should be here.
    Gap,
    /// What the TLS gate saw.
    Tls,
}

impl Kind {
    /// All kinds, in the order of their numbers: the first has number 1.
    pub const ALL: [Self; 9] = [
        Self::Change,
        Self::Ban,
        Self::Flood,
        Self::Drops,
        Self::Start,
        Self::Stop,
        Self::Fault,
        Self::Gap,
        Self::Tls,
    ];

    /// Its name: in canonical bytes, exports and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Ban => "ban",
            Self::Flood => "flood",
            Self::Drops => "drops",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Fault => "fault",
            Self::Gap => "gap",
            Self::Tls => "tls",
        }
    }

    /// Its number: in the files.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The kind of a number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| i64::from(kind.number()) == number)
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn names_and_numbers_of_kinds_stay() {
        let expected =
            ["change", "ban", "flood", "drops", "start", "stop", "fault", "gap", "tls"].into_iter().zip(1..);
        assert!(Kind::ALL.into_iter().map(|kind| (kind.name(), kind.number())).eq(expected));
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind.number().into()), Some(kind));
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!((Kind::from_number(0), Kind::from_number(10), Kind::from_name("Ban")), (None, None, None));
    }
}
