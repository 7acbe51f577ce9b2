//! What this node remembers of the starts of others, so that it can tell a node that its store went back.

use super::PeersError;
use crate::store::{Batch, Store, Table};
use polykey_core::enc;
use polykey_core::ids::NodeId;
use polykey_core::wire::{Seen, Start};
use std::collections::BTreeMap;

/// The highest boot of each node that said hello.
pub struct SeenStarts(BTreeMap<NodeId, Seen>);

impl SeenStarts {
    /// Those of the store.
    pub fn read(store: &Store) -> Result<SeenStarts, PeersError> {
        let mut all = BTreeMap::new();
        for row in store.scan(Table::Seen, &[]) {
            let (key, value) = row?;
            let node = NodeId::try_from(&key[..]).map_err(|_| PeersError::Row)?;
            all.insert(node, enc::decode(&value).map_err(|_| PeersError::Row)?);
        }
        Ok(SeenStarts(all))
    }

    /// What is remembered of `node`.
    pub fn of(&self, node: &NodeId) -> Option<Seen> {
        self.0.get(node).copied()
    }

    /// Takes note of a start; what is to be written for it, if anything.
    pub fn note(&mut self, start: &Start) -> Option<Batch> {
        let mut seen = self.of(&start.node);
        if !Seen::note(&mut seen, start) {
            return None;
        }
        let seen = seen?;
        self.0.insert(start.node, seen);
        let mut batch = Batch::default();
        batch.put(Table::Seen, start.node.as_bytes(), enc::encode(&seen));
        Some(batch)
    }
}
