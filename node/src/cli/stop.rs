//! Why a command ends before its end, what is printed then, and the exit status. Messages say what happened, why, and the next command; never a secret's value.

use super::args::Format;
use super::output::Paint;
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::Failure;
use polykey_client::reference::{ReferenceError, shown};
use std::fmt::Write as _;
use std::io::Write as _;

/// Exit status of `--check` that found something.
const PROBLEMS: u8 = 7;
/// Exit status after Ctrl-C, as a shell tells it.
const CANCELLED: u8 = 130;

/// Why a command ends before its end.
pub enum Stop {
    /// It failed.
    Error(ApiError),
    /// A check found problems, which are printed already.
    Problems,
    /// A person broke it off.
    Cancelled,
    /// Nobody reads the output any more: no error.
    Pipe,
}

impl Stop {
    /// Something failed here.
    pub fn failed(message: impl Into<String>) -> Stop {
        Stop::Error(ApiError::new(Code::Failed, message))
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::Usage, message)
    }

    /// Tells the error, if it is one, and gives the exit status.
    pub fn report(&self, format: Format, paint: Paint) -> u8 {
        match self {
            Stop::Pipe => 0,
            Stop::Problems => PROBLEMS,
            Stop::Cancelled => {
                let _ = writeln!(std::io::stderr(), "polykey: cancelled; nothing was changed");
                CANCELLED
            }
            Stop::Error(error) => {
                let exit = error.code.exit();
                let text = if format.is_for_programs() {
                    as_json(error, exit)
                } else {
                    as_text(error, paint)
                };
                let _ = std::io::stderr().write_all(text.as_bytes());
                exit
            }
        }
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Stop::Error(error)
    }
}

impl From<ReferenceError> for Stop {
    fn from(error: ReferenceError) -> Self {
        let hint =
            "a reference is VAULT:PATH[#FIELD][@VERSION], or pk://VAULT/PATH[#FIELD][?v=VERSION]";
        Stop::Error(Stop::usage(error.to_string()).hint(hint))
    }
}

fn as_text(error: &ApiError, paint: Paint) -> String {
    let mut out = format!("{} {}\n", paint.bad("polykey:"), shown(&error.message));
    if let Some(hint) = &error.hint {
        let _ = writeln!(out, "  hint: {}", shown(hint));
    }
    for next in &error.next {
        let _ = writeln!(out, "  try:  {}", shown(next));
    }
    out
}

fn as_json(error: &ApiError, exit: u8) -> String {
    serde_json::to_string(&Failure::of(error, exit))
        .map_or_else(|_| error.to_string(), |json| json + "\n")
}
