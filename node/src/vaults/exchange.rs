//! What a peer is told of a vault, and given when it asks. No key is needed for it.

use super::entry::{Entry, Inner};
use super::{VaultError, Vaults, now_ms, rows};
use crate::store::Table;
use polykey_core::ids::{Address, CommitId, NodeId, OpId, VaultId};
use polykey_core::tree::{self, TreeError};
use polykey_core::wire::{Announce, MAX_INLINE, MAX_OBJECTS, MAX_RECORDS};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Bytes of signed things in one announcement: with [`MAX_INLINE`] of objects they stay under a frame.
const MAX_SIGNED: usize = 512 << 10;
/// Versions that a peer may lack and is sent with their contents. Of more it gets the headers alone, and pulls: the newest before the past.
const MAX_WITH_CONTENTS: usize = 64;

/// Heads of a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncHeads {
    /// Of the control log, ascending.
    pub control_heads: Vec<OpId>,
    /// Of the commits, ascending.
    pub heads: Vec<CommitId>,
}

/// Objects with their addresses.
type Addressed = Vec<(Address, Vec<u8>)>;
/// Signed operations and commits.
pub type Records = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// What a peer is known to hold of one vault: what it said, and what it was told since.
#[derive(Default)]
pub struct Told {
    control: BTreeSet<OpId>,
    commits: BTreeSet<CommitId>,
    wraps: HashSet<Vec<u8>>,
}

impl Told {
    /// What a peer said that it holds.
    #[must_use]
    pub fn new(heads: &SyncHeads) -> Told {
        let mut told = Told::default();
        told.heard(heads);
        told
    }

    /// It holds just this, and this node knows all of it: the rest is among its ancestors and need not be remembered.
    pub fn settled(&mut self, heads: &SyncHeads) {
        self.control = heads.control_heads.iter().copied().collect();
        self.commits = heads.heads.iter().copied().collect();
    }

    /// It said so again.
    pub fn heard(&mut self, heads: &SyncHeads) {
        self.control.extend(&heads.control_heads);
        self.commits.extend(&heads.heads);
    }
}

impl Vaults {
    /// Vaults of which `node` is a live member.
    #[must_use]
    pub fn shared_with(&self, node: &NodeId) -> BTreeSet<VaultId> {
        let now = now_ms() / 1_000;
        let all = self.all();
        all.iter()
            .filter(|e| e.read().control.state().role_of(node, now).is_some())
            .map(|e| e.id)
            .collect()
    }

    /// Whether `node` is a live member of a vault that is here.
    #[must_use]
    pub fn is_shared_with(&self, vault: &VaultId, node: &NodeId) -> bool {
        let role = |e: Arc<Entry>| e.read().control.state().role_of(node, now_ms() / 1_000);
        self.entry(vault).ok().and_then(role).is_some()
    }

    /// What this node holds of a vault; `None` when it has no such vault.
    #[must_use]
    pub fn summary(&self, vault: &VaultId) -> Option<SyncHeads> {
        let entry = self.entry(vault).ok()?;
        let inner = entry.read();
        Some(SyncHeads {
            control_heads: inner.control.heads(),
            heads: inner.heads.clone(),
        })
    }

    /// The next announcement for a peer, empty when it has everything; `told` is what it has, and is brought up to date. Objects are in it when they fit into `inline` bytes;
    /// commits whose objects do not come without any.
    ///
    /// # Errors
    /// When the store fails.
    pub fn announce_for(
        &self,
        vault: &VaultId,
        told: &mut Told,
        inline: usize,
    ) -> Result<Announce, VaultError> {
        let entry = self.entry(vault)?;
        let mut out = Announce::default();
        let mut room = MAX_SIGNED;
        let commits = {
            let inner = entry.read();
            let known: Vec<OpId> = told.control.iter().copied().collect();
            for op in inner.control.beyond(&known) {
                if out.ops.len() >= MAX_RECORDS || op.bytes().len() > room {
                    return Ok(out);
                }
                room -= op.bytes().len();
                told.control.insert(op.id().into());
                out.ops.push(op.bytes().to_vec().into());
            }
            for (key, wrap) in &inner.wraps {
                let lives = inner.control.state().epochs.contains(&wrap.payload().epoch);
                if lives && !told.wraps.contains(key) {
                    if out.wraps.len() >= MAX_RECORDS || wrap.bytes().len() > room {
                        return Ok(out);
                    }
                    room -= wrap.bytes().len();
                    told.wraps.insert(key.clone());
                    out.wraps.push(wrap.bytes().to_vec().into());
                }
            }
            let known: Vec<CommitId> = told.commits.iter().copied().collect();
            to_tell(&inner, &known)
        };
        let objects = self.objects(&entry);
        let mut space = inline.min(MAX_INLINE);
        let mut sent: HashSet<Address> = HashSet::new();
        let mut large = false;
        for version in commits {
            let bytes = self.commit_bytes(vault, &version.id)?;
            let new = match version.tree {
                Some(tree) => tree::difference(&objects, &version.before, &tree)?,
                None => Vec::new(),
            };
            let new: Vec<Address> = new.into_iter().filter(|a| !sent.contains(a)).collect();
            let new = self.fitting(vault, &new, space, out.objects.len())?;
            let full = out.commits.len() >= MAX_RECORDS || bytes.len() > room;
            match new {
                Some(new) if !full && !large => {
                    space -= new.iter().map(|(_, o)| o.len()).sum::<usize>();
                    for (address, object) in new {
                        sent.insert(address);
                        out.objects.push(object.into());
                    }
                }
                // Too large: the peer pulls its objects, and those of the ones behind it that are too large as well.
                None if !full && (large || out.commits.is_empty()) => large = true,
                _ => return Ok(out),
            }
            room -= bytes.len();
            told.commits.insert(version.id);
            out.commits.push(bytes.into());
        }
        Ok(out)
    }

    /// Objects, if they fit into `space` bytes and into an announcement that has `already` some.
    fn fitting(
        &self,
        vault: &VaultId,
        addresses: &[Address],
        space: usize,
        already: usize,
    ) -> Result<Option<Addressed>, VaultError> {
        if already + addresses.len() > MAX_OBJECTS {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(addresses.len());
        let mut total = 0;
        for address in addresses {
            let object = self
                .object(vault, address)?
                .ok_or(TreeError::Missing(*address))?;
            total += object.len();
            if total > space {
                return Ok(None);
            }
            out.push((*address, object));
        }
        Ok(Some(out))
    }

    /// Addresses of the objects that `want` has beyond those of `have`, parents first; a version in `have` that is not here whole counts as empty.
    ///
    /// # Errors
    /// `NoSuch` when `want` is not here whole.
    pub fn pull(
        &self,
        vault: &VaultId,
        have: &[CommitId],
        want: &CommitId,
    ) -> Result<Vec<Address>, VaultError> {
        let entry = self.entry(vault)?;
        let (roots, root) = {
            let inner = entry.read();
            let root = inner
                .whole_root(want)
                .ok_or_else(|| VaultError::NoSuch(want.to_string()))?;
            let roots: Vec<_> = have.iter().filter_map(|c| inner.whole_root(c)).collect();
            (roots, root)
        };
        Ok(tree::difference(&self.objects(&entry), &roots, &root)?)
    }

    /// One sealed object, if it is here.
    ///
    /// # Errors
    /// When the store fails.
    pub fn object(
        &self,
        vault: &VaultId,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let row = self
            .store
            .get(Table::Object, &rows::pair(vault, address.as_bytes()))?;
        Ok(row.map(|mut r| std::mem::take(&mut *r)))
    }

    /// Signed operations and commits by id, parents first; what is not here is left out.
    ///
    /// # Errors
    /// When the store fails.
    pub fn records(
        &self,
        vault: &VaultId,
        ops: &[OpId],
        commits: &[CommitId],
    ) -> Result<Records, VaultError> {
        let entry = self.entry(vault)?;
        let inner = entry.read();
        let found = inner
            .control
            .ops()
            .filter(|op| ops.contains(&op.id().into()))
            .map(|op| op.bytes().to_vec())
            .collect();
        let durable = inner.commits.reachable(&inner.heads);
        let known: Vec<CommitId> = inner
            .commits
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| commits.contains(id) && durable.contains(id))
            .collect();
        drop(inner);
        let commits = known
            .iter()
            .map(|id| self.commit_bytes(vault, id))
            .collect::<Result<_, _>>()?;
        Ok((found, commits))
    }
}

/// A version that a peer is told of.
struct ToTell {
    id: CommitId,
    /// Its tree, unless the header goes alone.
    tree: Option<Address>,
    /// Trees that the peer has by then.
    before: Vec<Address>,
}

/// The versions that one who has `known` lacks, parents first, as many as one announcement holds.
fn to_tell(inner: &Inner, known: &[CommitId]) -> Vec<ToTell> {
    // What is placed but not durable yet, or not whole, is nobody's business; of the past behind what is shown the headers are.
    let shown =
        (inner.heads != inner.commits.heads()).then(|| inner.commits.reachable(&inner.heads));
    let lacks: Vec<CommitId> = inner
        .commits
        .beyond(known)
        .into_iter()
        .filter(|id| shown.as_ref().is_none_or(|s| s.contains(id)))
        .collect();
    let alone = lacks.len() > MAX_WITH_CONTENTS;
    let version = |id: CommitId| {
        let header = inner.commits.get(&id)?;
        let parents = header.parents.iter();
        Some(ToTell {
            id,
            tree: inner
                .whole_root(&id)
                .filter(|_| !alone && !inner.prunable.contains(&id)),
            before: parents.filter_map(|p| inner.whole_root(p)).collect(),
        })
    };
    let most = lacks.into_iter().take(MAX_RECORDS + 1);
    most.filter_map(version).collect()
}
