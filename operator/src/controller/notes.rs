//! Events: what changed, told once at the object. Pure decision, then one call.

use crate::crd::status::{Truth, find};
use crate::crd::{PolykeyNodeStatus, PolykeyVaultStatus};
use kube::runtime::events::{Event, EventType};

/// The most characters of a note, a limit of events.k8s.io.
const MAX_NOTE: usize = 1024;

/// Events of a PolykeyVault whose status went from `before` to `after`.
#[must_use]
pub fn of_vault(before: Option<&PolykeyVaultStatus>, after: &PolykeyVaultStatus) -> Vec<Event> {
    let was = |type_: &str| {
        before
            .and_then(|b| find(&b.conditions, type_))
            .map(|c| (c.status, c.reason.as_str()))
    };
    let is = |type_: &str| find(&after.conditions, type_).map(|c| (c.status, c.reason.as_str()));
    let message = |type_: &str| {
        find(&after.conditions, type_)
            .map(|c| c.message.clone())
            .unwrap_or_default()
    };
    let mut events = Vec::new();
    let delivered = is("Delivered")
        .is_some_and(|(status, reason)| status == Truth::True && reason == "AllPodsCurrent");
    let delivered_before = was("Delivered")
        .is_some_and(|(status, reason)| status == Truth::True && reason == "AllPodsCurrent");
    let same_version = before.is_some_and(|b| b.version == after.version);
    if delivered && !(delivered_before && same_version) {
        events.push(event(
            EventType::Normal,
            "VersionDelivered",
            "Deliver",
            &message("Delivered"),
        ));
    }
    let stuck = |c: Option<(Truth, &str)>| {
        c.is_some_and(|(status, reason)| status == Truth::False && reason != "Rolling")
    };
    if stuck(is("Delivered")) && is("Delivered") != was("Delivered") {
        events.push(event(
            EventType::Warning,
            "PodBehind",
            "Deliver",
            &message("Delivered"),
        ));
    }
    let status = |c: Option<(Truth, &str)>| c.map(|(status, _)| status);
    if status(was("Authorized")) == Some(Truth::True)
        && status(is("Authorized")) == Some(Truth::False)
    {
        events.push(event(
            EventType::Warning,
            "AccessRevoked",
            "Authorize",
            &message("Authorized"),
        ));
    }
    events
}

/// Event of a PolykeyNode that came back with another id.
#[must_use]
pub fn of_node(before: &PolykeyNodeStatus, after: &PolykeyNodeStatus) -> Option<Event> {
    (before.node_id != after.node_id && !before.node_id.is_empty()).then(|| {
        let note = format!("this replica lost its store: its node id was {} and is now {}. Share its vaults with the new id.", before.node_id, after.node_id);
        event(EventType::Warning, "NodeIdentityChanged", "Start", &note)
    })
}

fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    Event {
        type_,
        reason: reason.into(),
        action: action.into(),
        note: Some(note.chars().take(MAX_NOTE).collect()),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::conditions::Conditions;
    use jiff::Timestamp;

    fn status(version: &str, authorized: Truth, delivered: (Truth, &str)) -> PolykeyVaultStatus {
        let mut conditions = Conditions::new(&[], None, Timestamp::UNIX_EPOCH);
        conditions.set("Authorized", authorized, "x", "x");
        conditions.set("Delivered", delivered.0, delivered.1, "x");
        PolykeyVaultStatus {
            version: Some(version.into()),
            conditions: conditions.finish(),
            ..PolykeyVaultStatus::default()
        }
    }

    fn reasons(before: Option<&PolykeyVaultStatus>, after: &PolykeyVaultStatus) -> Vec<String> {
        of_vault(before, after)
            .into_iter()
            .map(|e| e.reason)
            .collect()
    }

    #[test]
    fn events_are_told_on_transitions_only() {
        let current = status("1", Truth::True, (Truth::True, "AllPodsCurrent"));
        let rolling = status("2", Truth::True, (Truth::False, "Rolling"));
        let next = status("2", Truth::True, (Truth::True, "AllPodsCurrent"));
        let refused = status("2", Truth::True, (Truth::False, "ServiceAccountNotListed"));
        let revoked = status("2", Truth::False, (Truth::Unknown, "NotGranted"));
        assert_eq!(reasons(None, &current), ["VersionDelivered"]);
        assert!(reasons(Some(&current), &current).is_empty());
        assert!(reasons(Some(&current), &rolling).is_empty());
        assert_eq!(reasons(Some(&rolling), &next), ["VersionDelivered"]);
        assert_eq!(reasons(Some(&current), &next), ["VersionDelivered"]);
        assert_eq!(reasons(Some(&next), &refused), ["PodBehind"]);
        assert!(reasons(Some(&refused), &refused).is_empty());
        assert_eq!(reasons(Some(&next), &revoked), ["AccessRevoked"]);
    }

    #[test]
    fn a_changed_node_id_is_told_once() {
        let node = |id: &str| PolykeyNodeStatus {
            node_id: id.into(),
            ..PolykeyNodeStatus::default()
        };
        assert_eq!(
            of_node(&node("va"), &node("vb")).map(|e| e.reason),
            Some("NodeIdentityChanged".into())
        );
        assert!(of_node(&node("va"), &node("va")).is_none());
        assert!(of_node(&node(""), &node("va")).is_none());
    }
}
