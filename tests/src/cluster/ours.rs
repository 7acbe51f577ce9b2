//! Whose the cluster is, and that starts and ends exclude each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// True while the end of the value, or an interrupt, takes the cluster down. Whoever starts something or takes it down holds the lock: so nothing is started behind the back of an
/// interrupt, and the program does not end before that is done.
#[derive(Clone)]
pub struct Ours(Arc<Mutex<bool>>);

impl Ours {
    /// A new claim.
    pub fn new(ours: bool) -> Ours {
        Ours(Arc::new(Mutex::new(ours)))
    }

    /// Does one thing that an interrupt must wait for, and that must not be begun after one.
    pub fn while_held<T>(&self, make: impl FnOnce() -> T) -> T {
        let _held = self.hold();
        make()
    }

    /// Holds the claim; the value under the lock is the claim itself.
    pub fn hold(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
