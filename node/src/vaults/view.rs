//! What the heads of a vault show together, made when they have changed and kept until they change again; and what stands for a version that its author broke.
//!
//! A commit whose tree does not open, or that passes its values off as another's, counts as a commit: what builds on it stays. But it shows nothing: in its place stands what
//! it builds on. Its author did that, not the peer who sent it, and the next write of anybody heals it.

use super::entry::{Entry, Inner};
use super::{VaultError, Vaults};
use polykey_core::ids::CommitId;
use polykey_core::view::View;
use std::sync::{Arc, PoisonError};

impl Vaults {
    /// What the heads show together; `None` while there is none. Made under the entry's lock when the heads have changed: it costs what differs between them.
    pub(super) fn view(
        &self,
        entry: &Entry,
        inner: &Inner,
    ) -> Result<Option<Arc<View>>, VaultError> {
        let mut kept = inner.view.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((heads, view)) = kept.as_ref()
            && *heads == inner.heads
        {
            return Ok(Some(view.clone()));
        }
        let made = self.view_of(entry, inner, &inner.heads)?.map(Arc::new);
        *kept = made.clone().map(|view| (inner.heads.clone(), view));
        Ok(made)
    }

    /// What these commits show together.
    pub(super) fn view_of(
        &self,
        entry: &Entry,
        inner: &Inner,
        heads: &[CommitId],
    ) -> Result<Option<View>, VaultError> {
        let objects = self.objects(entry);
        let heads = inner.readable(heads);
        Ok(View::of(
            &inner.commits,
            &heads,
            &objects,
            &*inner.secrets,
            entry.id,
        )?)
    }
}

impl Inner {
    /// These commits, each broken one replaced by what it builds on, without those that another of them builds on; ascending.
    pub fn readable(&self, heads: &[CommitId]) -> Vec<CommitId> {
        if !heads.iter().any(|h| self.broken.contains(h)) {
            return heads.to_vec();
        }
        self.commits.standing(heads, |id| self.broken.contains(id))
    }
}
