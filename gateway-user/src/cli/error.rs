//! Exit statuses, and errors as the user sees them: what is wrong, and what to do next.

use std::process::ExitCode;

use super::tell;
use crate::control::client::ClientError;
use crate::control::protocol::FailureKind;

/// How a command ends when it was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It was right, and failed.
    Failed = 1,
    /// Bad usage or configuration.
    Usage = 2,
    /// There is no running gateway.
    NotRunning = 3,
    /// It would have locked the caller out.
    Refused = 4,
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// The exit status.
    pub status: Status,
    /// What is wrong; none: the command has said it already.
    pub message: Option<String>,
    /// What to do next.
    pub help: Option<String>,
}

impl CliError {
    /// An error with this status.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()), help: None }
    }

    /// It was right, and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed, message)
    }

    /// Bad usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    /// It was not done, and the command has told why in its own form.
    pub const fn reported(status: Status) -> Self {
        Self { status, message: None, help: None }
    }

    /// With what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The text for standard error, with its newlines.
    pub fn text(&self) -> String {
        let message = self.message.iter().map(|message| format!("error: {message}\n"));
        message.chain(self.help.iter().map(|help| format!("help: {help}\n"))).collect()
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::NotRunning(_) => Self::new(Status::NotRunning, message).help(
                "start it with `systemctl start gateway` or `gateway run`, or name its socket with --socket",
            ),
            ClientError::Permission(_) => {
                Self::failed(message).help("run it with sudo, or join the group that control.group names")
            }
            ClientError::Failed(failure) => {
                let status = match failure.kind {
                    FailureKind::Usage => Status::Usage,
                    FailureKind::Failed | FailureKind::Denied => Status::Failed,
                    FailureKind::Refused => Status::Refused,
                };
                Self { status, message: Some(message), help: failure.help }
            }
            ClientError::Timeout => Self::failed(message).help("look at its log: `journalctl -u gateway`"),
            ClientError::Answer(_) => Self::failed(message)
                .help("are this command and the running gateway of the same version? `gateway --version`"),
            ClientError::TooLong => Self::usage(message),
            ClientError::Io(_) => Self::failed(message).help("try it again; look at `gateway status`"),
        }
    }
}

/// Tells the outcome on standard error and as the exit status.
pub fn exit(outcome: Result<(), CliError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.text());
            ExitCode::from(error.status as u8)
        }
    }
}
