//! What an owner's node does by itself: it writes the end of grants that have ended by the clock, and starts the epoch that is due when a reader left without an owner at hand.

use super::{VaultError, Vaults, now_ms};
use polykey_core::control::{Control, Role, Target};
use polykey_core::ids::OpId;

impl Vaults {
    /// Removes every grant that has ended by this node's clock, in the vaults that it owns: then all members come to one state. Starts epochs that are due.
    ///
    /// # Errors
    /// The last failure; every vault was tried.
    pub async fn end_expired(&self) -> Result<(), VaultError> {
        if self.may_write().is_err() {
            return Ok(());
        }
        let now = now_ms() / 1_000;
        let mut result = Ok(());
        for entry in self.all() {
            let mut one_writer = entry.writing.clone().lock_owned().await;
            let control = entry.read().control.clone();
            if control.state().role_of(&self.me, now) != Some(Role::Owner)
                || control.needs_upgrade().is_some()
            {
                continue;
            }
            for grant in ended(&control, now) {
                match self.remove(&entry, one_writer, Target::Grant(grant)).await {
                    Ok(again) => one_writer = again,
                    Err(e) => {
                        result = Err(e);
                        one_writer = entry.writing.clone().lock_owned().await;
                        continue;
                    }
                }
                tracing::info!(vault = %entry.id.short(), grant = %grant.short(), "a grant has expired and was removed");
            }
            if entry.read().control.state().rotation_pending {
                match self.rotate(&entry, one_writer).await {
                    Ok(_) => {
                        tracing::info!(vault = %entry.id.short(), "a new epoch: a reader had left");
                    }
                    Err(e) => result = Err(e),
                }
            }
        }
        result
    }
}

/// Grants that have ended, each once: what was joined under one ends with it.
fn ended(control: &Control, now: u64) -> Vec<OpId> {
    let grants = control.state().members.values().flat_map(|m| &m.grants);
    let mut ended: Vec<OpId> = grants
        .filter(|g| !g.holds(now))
        .map(|g| g.under.unwrap_or(g.id))
        .collect();
    ended.sort_unstable();
    ended.dedup();
    ended
}
