//! When a status that differs is written: at once when Ready or the version changed, else at most every ten seconds. Pure, but for the bucket.

use crate::crd::status::find;
use crate::crd::{Condition, PolykeyVaultStatus};
use std::time::Duration;
use tokio::time::Instant;

/// Changes that people do not wait for come at most this often for one object.
pub const TRAILING: Duration = Duration::from_secs(10);

/// When to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing differs.
    Never,
    /// Now.
    Now,
    /// Not before that.
    At(Instant),
}

/// Decides for a status that may differ.
#[must_use]
pub fn due(differs: bool, urgent: bool, written: Option<Instant>, now: Instant) -> Due {
    if !differs {
        return Due::Never;
    }
    match written.map(|at| at + TRAILING) {
        Some(at) if !urgent && at > now => Due::At(at),
        _ => Due::Now,
    }
}

/// True when Ready or the version differs.
#[must_use]
pub fn urgent(before: Option<&PolykeyVaultStatus>, after: &PolykeyVaultStatus) -> bool {
    before.is_none_or(|before| {
        before.version != after.version || ready_differs(&before.conditions, &after.conditions)
    })
}

/// True when status or reason of Ready differs.
#[must_use]
pub fn ready_differs(before: &[Condition], after: &[Condition]) -> bool {
    let word = |list: &[Condition]| find(list, "Ready").map(|c| (c.status, c.reason.clone()));
    word(before) != word(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_changes_are_written_at_once_and_others_trail() {
        let start = Instant::now();
        let later = start + Duration::from_secs(3);
        assert_eq!(due(false, true, None, start), Due::Never);
        assert_eq!(due(true, false, None, start), Due::Now);
        assert_eq!(due(true, true, Some(start), later), Due::Now);
        assert_eq!(
            due(true, false, Some(start), later),
            Due::At(start + TRAILING)
        );
        assert_eq!(due(true, false, Some(start), start + TRAILING), Due::Now);
    }

    #[test]
    fn a_new_version_is_urgent_and_a_pod_more_is_not() {
        let before = PolykeyVaultStatus {
            version: Some("a".into()),
            ..PolykeyVaultStatus::default()
        };
        let pods = PolykeyVaultStatus {
            pods: Some(crate::crd::vault::Pods::default()),
            ..before.clone()
        };
        let version = PolykeyVaultStatus {
            version: Some("b".into()),
            ..before.clone()
        };
        assert!(!urgent(Some(&before), &pods));
        assert!(urgent(Some(&before), &version));
        assert!(urgent(None, &before));
    }
}
