//! How far a long run is, and when it will end.

use std::time::{Duration, Instant};

/// How often it says so.
const EVERY: Duration = Duration::from_secs(15);

/// The run.
pub struct Progress {
    begun: Instant,
    told: Instant,
    whole: usize,
}

impl Progress {
    /// Of so many steps.
    pub fn of(whole: usize) -> Progress {
        let now = Instant::now();
        Progress {
            begun: now,
            told: now,
            whole,
        }
    }

    /// Says how far it is, if it has not done so for a while.
    pub fn at(&mut self, done: usize, what: &str) {
        if self.told.elapsed() < EVERY || done == 0 {
            return;
        }
        self.told = Instant::now();
        let left = left(self.begun.elapsed(), done, self.whole);
        eprintln!(
            "{done} of {}, {} min {} s left: {what}",
            self.whole,
            left.as_secs() / 60,
            left.as_secs() % 60
        );
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The rest takes as long, step by step, as what is done.
fn left(took: Duration, done: usize, whole: usize) -> Duration {
    let each = took.as_secs_f64() / f64::from(u32::try_from(done.max(1)).unwrap_or(u32::MAX));
    let steps = f64::from(u32::try_from(whole.saturating_sub(done)).unwrap_or(u32::MAX));
    Duration::from_secs_f64(each * steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_for_each_step_as_what_is_done() {
        assert_eq!(left(Duration::from_secs(30), 10, 50).as_secs(), 120);
        assert_eq!(left(Duration::from_secs(30), 50, 50).as_secs(), 0);
    }
}
