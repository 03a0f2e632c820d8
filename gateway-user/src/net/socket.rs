//! One question to the kernel and its answers.
//!
//! Messages are taken apart here and not by the typed parser, which would refuse a whole answer for one attribute of
//! a newer kernel that it does not know.

use std::io;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer,
    NetlinkHeader, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

use super::NetError;

/// Before the payload.
const HEADER: usize = 16;
/// The kernel's words in an error (`NLMSGERR_ATTR_MSG`, linux/netlink.h).
const ERROR_TEXT: u16 = 1;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The kernel says no.
    Refused {
        /// A positive error number.
        code: i32,
        /// Its words.
        said: Option<String>,
    },
    /// The socket does not work.
    Socket(io::Error),
    /// What came is no netlink message.
    Strange,
}

impl Failure {
    /// As callers see it; `action` completes "the kernel does not".
    pub(super) fn into_error(self, action: &'static str) -> NetError {
        match self {
            Self::Refused { code, said } => {
                NetError::Refused { action, source: io::Error::from_raw_os_error(code), said }
            }
            Self::Socket(error) => NetError::Socket(error),
            Self::Strange => NetError::Answer("it is no netlink message".into()),
        }
    }
}

/// A conversation with the kernel.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Begins one.
    pub(super) fn open(protocol: i32) -> io::Result<Self> {
        let mut socket = Socket::new(protocol as isize)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors come with the kernel's words, and without a copy of the question before them.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The payloads of the answers.
    pub(super) fn ask(&mut self, kind: u16, flags: u16, payload: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        self.sequence += 1;
        let end = if flags & NLM_F_DUMP == NLM_F_DUMP { 0 } else { NLM_F_ACK };
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(HEADER + payload.len()).map_err(|_| Failure::Strange)?;
        header.message_type = kind;
        header.flags = NLM_F_REQUEST | flags | end;
        header.sequence_number = self.sequence;
        let question = [bytes(&header).as_slice(), payload].concat();
        self.socket.send(&question, 0).map_err(Failure::Socket)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(Failure::Socket)?;
            if read(&datagram, self.sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// What is written on the wire.
pub(super) fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut buffer = vec![0; message.buffer_len()];
    message.emit(&mut buffer);
    buffer
}

/// Takes a datagram apart; whether it was the last.
fn read(mut datagram: &[u8], sequence: u32, answers: &mut Vec<Vec<u8>>) -> Result<bool, Failure> {
    while !datagram.is_empty() {
        let message = NetlinkBuffer::new_checked(datagram).map_err(|_| Failure::Strange)?;
        let length = message.length() as usize;
        let payload = datagram.get(HEADER..length).ok_or(Failure::Strange)?;
        if message.sequence_number() == sequence {
            match message.message_type() {
                NLMSG_NOOP => {}
                NLMSG_DONE | NLMSG_ERROR => return refusal(payload).map_or(Ok(true), Err),
                _ => answers.push(payload.to_vec()),
            }
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The refusal in a closing message; nothing: it was done.
fn refusal(payload: &[u8]) -> Option<Failure> {
    let code = payload.first_chunk().map_or(-libc::EPROTO, |code| i32::from_ne_bytes(*code));
    if code == 0 {
        return None;
    }
    let attributes = payload.get(4 + HEADER..).unwrap_or_default();
    let said = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == ERROR_TEXT)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    Some(Failure::Refused { code: code.saturating_abs(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).unwrap();
        let mut message = [length.to_ne_bytes(), [0; 4], sequence.to_ne_bytes(), [0; 4]].concat();
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.extend(payload);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    #[test]
    fn answers_are_collected_up_to_the_end_and_others_left_out() {
        let datagram = [message(16, 7, b"one!!"), message(16, 6, b"late"), message(NLMSG_DONE, 7, &[0; 4])];
        let mut answers = Vec::new();
        assert!(read(&datagram.concat(), 7, &mut answers).unwrap());
        assert_eq!(answers, [b"one!!".to_vec()]);
        assert!(!read(&datagram[0], 7, &mut answers).unwrap());
    }

    #[test]
    fn a_refusal_has_its_number_and_words() {
        let words = [&[12, 0, ERROR_TEXT as u8, 0], b"busy it\0".as_slice()].concat();
        let payload = [&(-libc::EBUSY).to_ne_bytes(), [0; HEADER].as_slice(), &words].concat();
        let refused = read(&message(NLMSG_ERROR, 1, &payload), 1, &mut Vec::new()).unwrap_err();
        let error = refused.into_error("do it").to_string();
        assert!(error.starts_with("the kernel does not do it: ") && error.ends_with(" (busy it)"), "{error}");
    }

    #[test]
    fn no_prefix_of_a_datagram_panics() {
        let whole = message(NLMSG_ERROR, 1, &(-libc::EPERM).to_ne_bytes());
        for length in 1..whole.len() {
            assert!(read(&whole[..length], 1, &mut Vec::new()).is_err(), "{length}");
        }
        let mut short = whole;
        short[0] = 3;
        assert!(read(&short, 1, &mut Vec::new()).is_err());
    }
}
