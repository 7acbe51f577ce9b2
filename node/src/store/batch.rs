//! Tables, and what is written to them together.

use zeroize::Zeroizing;

/// The tables. A row's key is its table's number and the table's own key, which holds ids and counters, never names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// Schema version, boot counter, pod name.
    Meta = 1,
    /// Per vault: what must never go back.
    Floor = 2,
    /// Per vault: its local name and its shape key.
    Vault = 3,
    /// Secrets of epochs.
    Epoch = 4,
    /// Control operations.
    Op = 5,
    /// Wraps that came apart from an operation.
    Wrap = 6,
    /// Commits.
    Commit = 7,
    /// Sealed objects, their keys ending in their address, which proves them: the only rows that are stored as they are.
    Object = 8,
    /// Configured peers.
    Peer = 9,
    /// The access set in force.
    Access = 10,
    /// Key sets of token issuers.
    Jwks = 11,
    /// Audit entries.
    Audit = 12,
    /// What arrived before what it depends on.
    Held = 13,
    /// Per peer: its highest boot that was seen, and the process that had it.
    Seen = 14,
    /// Commits whose contents their authors made wrong. Ids alone.
    Broken = 15,
    /// Per vault that a peer introduced: which peer.
    Guest = 16,
    /// Commits whose trees are not here: on their way, or let go of. Ids alone.
    Lean = 17,
}

/// Writes that take effect together or not at all.
#[derive(Default)]
pub struct Batch {
    pub(super) writes: Vec<Write>,
}

pub(super) struct Write {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Zeroizing<Vec<u8>>>,
}

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, table: Table, key: &[u8], value: impl Into<Zeroizing<Vec<u8>>>) {
        self.writes.push(Write {
            table,
            key: key.to_vec(),
            value: Some(value.into()),
        });
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, table: Table, key: &[u8]) {
        self.writes.push(Write {
            table,
            key: key.to_vec(),
            value: None,
        });
    }

    /// True when nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds the writes of another batch behind these.
    pub fn append(&mut self, mut other: Batch) {
        self.writes.append(&mut other.writes);
    }
}

/// A row's key in the database: its table's number and the table's own key.
pub(super) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table as u8);
    out.extend_from_slice(key);
    out
}
