//! What the status of all three kinds shares: conditions in the shape that `kubectl wait` reads.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most conditions on one object; ours are eight.
pub const MAX_CONDITIONS: usize = 16;
/// The longest message of a condition, in characters.
pub const MAX_MESSAGE: usize = 1024;

/// One observation of an object's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed.
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// Whether it holds.
    pub status: Truth,
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// Why, in one word for machines. The words are frozen.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    )]
    pub reason: String,
    /// Why, for people, and what to do.
    #[schemars(length(max = MAX_MESSAGE))]
    pub message: String,
}

/// The three values of a condition.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[allow(
    missing_docs,
    reason = "a documented variant would become a schema of its own instead of one enum"
)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// As written in the object.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

/// The condition of that type, if the list has one.
#[must_use]
pub fn find<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}
