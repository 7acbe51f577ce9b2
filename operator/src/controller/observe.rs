//! What the nodes report, put in order once a pass: for each PolykeyVault its rules and its pods, each pod once.

use polykey_client::api::{Consumer, Consumers, Peer, RuleState, Vault};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A replica as the operator sees it.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Name of its PolykeyNode, and of its pod.
    pub name: String,
    /// Its last table; `None` while it does not answer.
    pub table: Option<Arc<Consumers>>,
}

/// What one PolykeyVault looks like from all replicas that answer.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// What each replica would serve for it: replica, rule.
    pub rules: Vec<(&'a str, &'a RuleState)>,
    /// Every pod that asks for it, once.
    pub pods: Vec<&'a Consumer>,
}

/// Everything that the nodes report, by PolykeyVault.
pub struct Observed<'a> {
    by_vault: HashMap<(&'a str, &'a str), Seen<'a>>,
    nodes: &'a [NodeView],
}

impl<'a> Observed<'a> {
    /// Sorts the tables of all replicas.
    #[must_use]
    pub fn new(nodes: &'a [NodeView]) -> Observed<'a> {
        let mut by_vault: HashMap<(&str, &str), Seen<'_>> = HashMap::new();
        let mut pods: BTreeMap<(&str, &str, &str), &Consumer> = BTreeMap::new();
        for (name, table) in answering(nodes) {
            for rule in &table.rules {
                by_vault
                    .entry((&rule.namespace, &rule.name))
                    .or_default()
                    .rules
                    .push((name, rule));
            }
            for row in &table.consumers {
                let key = (
                    row.namespace.as_str(),
                    row.name.as_str(),
                    row.pod_uid.as_str(),
                );
                pods.entry(key)
                    .and_modify(|known| *known = truer(known, row))
                    .or_insert(row);
            }
        }
        for ((namespace, name, _), row) in pods {
            by_vault
                .entry((namespace, name))
                .or_default()
                .pods
                .push(row);
        }
        Observed { by_vault, nodes }
    }

    /// What is known of one PolykeyVault.
    #[must_use]
    pub fn seen(&self, namespace: &str, name: &str) -> Seen<'a> {
        self.by_vault
            .get(&(namespace, name))
            .cloned()
            .unwrap_or_default()
    }

    /// How many replicas there are.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.nodes.len()
    }

    /// How many of them answer.
    #[must_use]
    pub fn answering(&self) -> usize {
        answering(self.nodes).count()
    }

    /// Vaults of all replicas that answer.
    pub fn vaults(&self) -> impl Iterator<Item = &'a Vault> {
        answering(self.nodes).flat_map(|(_, table)| &table.vaults)
    }

    /// Peers of all replicas that answer.
    pub fn peers(&self) -> impl Iterator<Item = &'a Peer> {
        answering(self.nodes).flat_map(|(_, table)| &table.peers)
    }
}

fn answering(nodes: &[NodeView]) -> impl Iterator<Item = (&str, &Consumers)> {
    nodes
        .iter()
        .filter_map(|n| Some((n.name.as_str(), n.table.as_deref()?)))
}

/// A pod that moved from one replica to another is in both tables for a minute. A row that says something wins over one that is only connecting, then the newer.
fn truer<'r>(a: &'r Consumer, b: &'r Consumer) -> &'r Consumer {
    let says = |row: &Consumer| (row.state != "connecting", row.since_ms);
    if says(b) > says(a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(pod: &str, state: &str, since: u64) -> Consumer {
        serde_json::from_value(json!({"namespace": "shop", "name": "app", "pod": pod, "podUid": format!("uid-{pod}"), "serviceAccount": "app", "kubernetesNode": null,
            "state": state, "version": null, "reason": null, "message": null, "provenance": null, "sinceMs": since}))
        .expect("a row")
    }

    fn node(name: &str, rows: Vec<Consumer>) -> NodeView {
        NodeView {
            name: name.into(),
            table: Some(Arc::new(Consumers {
                consumers: rows,
                ..Consumers::default()
            })),
        }
    }

    #[test]
    fn a_pod_that_moved_between_replicas_counts_once_with_its_newest_word() {
        let nodes = [
            node("n0", vec![row("a", "written", 10), row("b", "refused", 5)]),
            node(
                "n1",
                vec![row("a", "connecting", 20), row("b", "written", 9)],
            ),
        ];
        let observed = Observed::new(&nodes);
        let seen = observed.seen("shop", "app");
        let states: Vec<_> = seen
            .pods
            .iter()
            .map(|p| (p.pod.as_str(), p.state.as_str()))
            .collect();
        assert_eq!(states, [("a", "written"), ("b", "written")]);
    }

    #[test]
    fn a_replica_that_does_not_answer_is_counted_and_says_nothing() {
        let nodes = [
            node("n0", vec![row("a", "written", 10)]),
            NodeView {
                name: "n1".into(),
                table: None,
            },
        ];
        let observed = Observed::new(&nodes);
        assert_eq!((observed.replicas(), observed.answering()), (2, 1));
        assert!(observed.seen("shop", "other").pods.is_empty());
    }
}
