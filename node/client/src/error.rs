//! The error of the local API and of the command line: one code, one exit status, what happened, why, and the next command.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Machine-readable cause. Codes are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// Something failed here.
    Failed,
    /// The request is malformed.
    Usage,
    /// Not there, or not allowed to see: one answer for both.
    NotFound,
    /// The identity is locked.
    Locked,
    /// The agent or a peer does not answer.
    Unreachable,
    /// The version moved, or the name is taken.
    Conflict,
    /// A token was refused.
    Unauthorized,
    /// No access set is in force yet.
    NoAccessRules,
    /// The node itself may not review tokens: a misconfiguration.
    ReviewForbidden,
    /// Over a limit.
    TooLarge,
    /// The vault uses something that this version does not know.
    NeedsUpgrade,
    /// It is there, and this device's role does not allow it.
    Forbidden,
}

impl Code {
    /// Exit status of the command line: 0, 1 and 4 as gh, 2 as clap.
    #[must_use]
    pub fn exit(self) -> u8 {
        match self {
            Code::Failed | Code::TooLarge | Code::NeedsUpgrade | Code::ReviewForbidden => 1,
            Code::Usage => 2,
            Code::NotFound | Code::Forbidden => 3,
            Code::Locked | Code::Unauthorized => 4,
            Code::Unreachable | Code::NoAccessRules => 5,
            Code::Conflict => 6,
        }
    }

    /// HTTP status of the local API.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Code::Failed => 500,
            Code::Usage => 400,
            Code::NotFound => 404,
            Code::Forbidden => 403,
            Code::Locked => 423,
            Code::Unauthorized => 401,
            Code::Unreachable | Code::NoAccessRules | Code::ReviewForbidden => 503,
            Code::Conflict => 409,
            Code::TooLarge => 413,
            Code::NeedsUpgrade => 501,
        }
    }
}

/// An error for people and machines. Never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The cause.
    pub code: Code,
    /// What happened.
    pub message: String,
    /// Why, or what may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Commands to try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

impl ApiError {
    /// An error with a message alone.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        ApiError {
            code,
            message: message.into(),
            hint: None,
            next: Vec::new(),
        }
    }

    /// Adds why, or what may help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a command to try.
    #[must_use]
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
