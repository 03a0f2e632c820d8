//! The fields of a ClientHello (RFC 8446 section 4.1.2), and what follows each.

use super::{HELLO_MAX, Outcome, Reader, want};
use crate::wire::tls::{CLIENT_HELLO, HELLO_MIN, MAJOR, MINOR_MAX, MINOR_MIN};

/// Highest lower byte that a version without `supported_versions` can mean: TLS 1.2 (RFC 8446 section 4.2.1).
const LEGACY_MINOR_MAX: u8 = 3;
/// The upper byte of TLS 1.3's drafts (draft-ietf-tls-tls13-28 section 4.2.1.1).
const DRAFT_MAJOR: u8 = 0x7f;
/// Extension server_name (RFC 6066 section 3).
const SERVER_NAME: u32 = 0;
/// NameType host_name.
const HOST_NAME: u32 = 0;
/// Extension supported_versions (RFC 8446 section 4.2.1).
const SUPPORTED_VERSIONS: u32 = 43;
/// Bytes of the random.
const RANDOM: u32 = 32;
/// Longest session id.
const SESSION_MAX: u32 = 32;

/// The next field. Fields are in the order of the stream; those before [`Field::Type`] lie outside of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Field {
    /// A PROXY protocol header.
    #[default]
    Proxy,
    /// HandshakeType.
    Type,
    /// Length of the handshake message.
    Length,
    /// client_version or legacy_version.
    Version,
    /// Length of the session id.
    Session,
    /// Length of the cipher suites.
    Ciphers,
    /// Length of the compression methods.
    Compression,
    /// Length of all extensions.
    Extensions,
    /// Type of an extension.
    ExtensionType,
    /// Length of an extension that is skipped.
    Other,
    /// Length of extension server_name.
    NameLength,
    /// Length of its list.
    NameList,
    /// NameType.
    NameType,
    /// Length of the name.
    NameSize,
    /// The name.
    Name,
    /// Length of extension supported_versions.
    VersionsLength,
    /// Length of its list.
    VersionsList,
    /// One supported version.
    Supported,
}

impl Field {
    pub(super) const ALL: [Self; 18] = [
        Self::Proxy,
        Self::Type,
        Self::Length,
        Self::Version,
        Self::Session,
        Self::Ciphers,
        Self::Compression,
        Self::Extensions,
        Self::ExtensionType,
        Self::Other,
        Self::NameLength,
        Self::NameList,
        Self::NameType,
        Self::NameSize,
        Self::Name,
        Self::VersionsLength,
        Self::VersionsList,
        Self::Supported,
    ];

    /// Whether it lies inside an extension.
    pub(super) const fn is_inside(self) -> bool {
        matches!(
            self,
            Self::NameList
                | Self::NameType
                | Self::NameSize
                | Self::Name
                | Self::VersionsList
                | Self::Supported
        )
    }
}

impl Reader {
    /// Goes on after a field that was read whole.
    #[inline(always)]
    pub(super) fn field_read(&mut self, value: u32) {
        let fits = match self.field {
            Field::Proxy => true,
            Field::Type => {
                self.expect(Field::Length, 3);
                if value != u32::from(CLIENT_HELLO) {
                    self.end_as(Outcome::NoHello);
                }
                true
            }
            Field::Length => {
                self.message = value;
                self.expect(Field::Version, 2);
                (u32::from(HELLO_MIN)..=HELLO_MAX).contains(&value)
            }
            Field::Version => return self.version(value),
            Field::Session => self.skipping(value, Field::Ciphers, 2) && value <= SESSION_MAX,
            Field::Ciphers => {
                self.skipping(value, Field::Compression, 1) && value >= 2 && value.is_multiple_of(2)
            }
            Field::Compression => self.skipping(value, Field::Extensions, 2) && value >= 1,
            Field::Extensions => {
                self.expect(Field::ExtensionType, 2);
                value == self.message
            }
            Field::ExtensionType => {
                let field = match value {
                    SERVER_NAME if self.wants & want::NAME != 0 => Field::NameLength,
                    SUPPORTED_VERSIONS if self.wants & want::VERSION != 0 => Field::VersionsLength,
                    _ => Field::Other,
                };
                self.expect(field, 2);
                true
            }
            Field::Other => self.skipping(value, Field::ExtensionType, 2),
            _ => self.extension_field(value),
        };
        if !fits {
            self.end_as(Outcome::BadHello);
        }
    }

    /// Bytes to skip, and what comes behind them.
    #[inline(always)]
    fn skipping(&mut self, bytes: u32, then: Field, size: u16) -> bool {
        self.skip = bytes;
        self.expect(then, size);
        bytes <= self.message
    }

    #[inline(always)]
    fn version(&mut self, value: u32) {
        let minor = value as u8;
        self.minor = if minor > LEGACY_MINOR_MAX { LEGACY_MINOR_MAX } else { minor };
        // SSL 3.0 is refused by its version, whatever else is wanted.
        if self.is_answered() || minor < MINOR_MIN {
            return self.end_as(Outcome::Complete);
        }
        self.skip = RANDOM;
        self.expect(Field::Session, 1);
    }

    #[inline(always)]
    const fn is_answered(&self) -> bool {
        self.wants & (want::VERSION | want::NAME) == 0
    }

    /// A field of server_name or of supported_versions.
    #[inline(always)]
    fn extension_field(&mut self, value: u32) -> bool {
        let rest = u32::from(self.extension);
        match self.field {
            Field::NameLength | Field::VersionsLength => {
                self.extension = value as u16;
                if self.field == Field::NameLength {
                    self.expect(Field::NameList, 2);
                } else {
                    self.expect(Field::VersionsList, 1);
                }
                value <= self.message
            }
            Field::NameList => {
                self.expect(Field::NameType, 1);
                value == rest
            }
            Field::NameType => {
                self.expect(Field::NameSize, 2);
                value == HOST_NAME
            }
            Field::NameSize => {
                self.expect(Field::Name, value as u16);
                value != 0 && value <= rest
            }
            Field::Name => {
                self.answer(want::NAME);
                self.skipping(rest, Field::ExtensionType, 2)
            }
            Field::VersionsList => {
                self.minor = 0;
                self.expect(Field::Supported, 2);
                value == rest && value >= 2 && value.is_multiple_of(2)
            }
            _ => {
                self.supported(value);
                true
            }
        }
    }

    /// A version of supported_versions; GREASE (RFC 8701) and unknown numbers are none.
    #[inline(always)]
    fn supported(&mut self, value: u32) {
        let [_, _, major, minor] = value.to_be_bytes();
        let minor = match major {
            MAJOR if minor <= MINOR_MAX => minor,
            DRAFT_MAJOR => MINOR_MAX,
            _ => 0,
        };
        if minor > self.minor {
            self.minor = minor;
        }
        if self.extension == 0 {
            self.answer(want::VERSION);
            self.expect(Field::ExtensionType, 2);
        } else {
            self.expect(Field::Supported, 2);
        }
    }

    #[inline(always)]
    fn answer(&mut self, wanted: u8) {
        self.wants &= !wanted;
        if self.is_answered() {
            self.end_as(Outcome::Complete);
        }
    }
}
