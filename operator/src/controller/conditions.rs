//! Building a list of conditions that keeps the times of those that did not change.

use crate::crd::Condition;
use crate::crd::status::{MAX_MESSAGE, Truth, find};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Conditions in the making.
pub struct Conditions<'b> {
    before: &'b [Condition],
    generation: Option<i64>,
    now: Timestamp,
    list: Vec<Condition>,
}

impl<'b> Conditions<'b> {
    /// Starts from the conditions that the object has.
    #[must_use]
    pub fn new(before: &'b [Condition], generation: Option<i64>, now: Timestamp) -> Conditions<'b> {
        Conditions {
            before,
            generation,
            now,
            list: Vec::new(),
        }
    }

    /// Sets one.
    pub fn set(&mut self, type_: &str, status: Truth, reason: &str, message: &str) {
        let known = find(self.before, type_).filter(|c| c.status == status);
        let since = known.map_or_else(
            || Time(whole_second(self.now)),
            |c| c.last_transition_time.clone(),
        );
        self.list.push(Condition {
            type_: type_.to_owned(),
            status,
            observed_generation: self.generation,
            last_transition_time: since,
            reason: reason.to_owned(),
            message: shortened(message),
        });
    }

    /// Sets one that is present only while it is true.
    pub fn set_if(&mut self, holds: bool, type_: &str, reason: &str, message: &str) {
        if holds {
            self.set(type_, Truth::True, reason, message);
        }
    }

    /// All of them.
    #[must_use]
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}

/// Times in objects have whole seconds: what is read back equals what was written.
#[must_use]
pub fn whole_second(t: Timestamp) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(t)
}

/// Unix milliseconds as a time of an object; `None` when no calendar has it.
#[must_use]
pub fn time(unix_ms: u64) -> Option<Time> {
    let seconds = i64::try_from(unix_ms / 1000).ok()?;
    Timestamp::from_second(seconds).ok().map(Time)
}

fn shortened(message: &str) -> String {
    if message.chars().count() <= MAX_MESSAGE {
        return message.to_owned();
    }
    message.chars().take(MAX_MESSAGE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let at = |s| Timestamp::from_second(s).expect("a time");
        let mut first = Conditions::new(&[], Some(1), at(100));
        first.set("Ready", Truth::True, "A", "a");
        let first = first.finish();
        let mut second = Conditions::new(&first, Some(2), at(200));
        second.set("Ready", Truth::True, "B", "b");
        let second = second.finish();
        assert_eq!(second[0].last_transition_time.0, at(100));
        let mut third = Conditions::new(&second, Some(2), at(300));
        third.set("Ready", Truth::False, "B", "b");
        assert_eq!(third.finish()[0].last_transition_time.0, at(300));
    }

    #[test]
    fn a_long_message_stays_within_the_schema() {
        assert_eq!(shortened(&"ü".repeat(5000)).chars().count(), MAX_MESSAGE);
        assert_eq!(shortened("short"), "short");
    }
}
