//! One vault between two nodes: the stream that stays open. Each side says once what it holds; from then on whoever has something new announces it, and
//! the other answers every announcement with what it holds then.
//!
//! At most one announcement is on its way in each direction, and what changes meanwhile is one dirty flag, not a queue: a slow peer gets the newest
//! state, and an announcement is never stuck behind another that nobody reads.

use super::{Session, SyncError, fetch, locked, next};
use crate::net::{Receiver, Sender, Stream};
use crate::vaults::Received;
use polykey_core::commit::SignedCommit;
use polykey_core::control::SignedOp;
use polykey_core::ids::{CommitId, OpId, VaultId};
use polykey_core::wire::{self, Announce, Call, Refused, SyncFrame};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// An announcement that moved nothing at the peer is repeated after this, doubled up to [`STALL_LONGEST`]: it may hold a commit of the future back, or
/// have no room.
const STALL_FIRST: Duration = Duration::from_secs(1);
/// Longest wait before an announcement is repeated.
const STALL_LONGEST: Duration = Duration::from_mins(1);
/// Rounds of fetching what one announcement needs: 64 times 256 records is more history than a vault that was shared a moment ago lacks.
const MAX_ROUNDS: usize = 64;

/// How a subscription ended.
pub(super) enum Ended {
    /// Without a complaint.
    Finished,
    /// The peer does not want it.
    Refused(Refused),
}

/// Wakes a subscription.
#[derive(Default)]
pub(super) struct Signal {
    notify: Notify,
    ended: AtomicBool,
}

impl Signal {
    /// Something is new in the vault, or in who may have it.
    pub(super) fn changed(&self) {
        self.notify.notify_one();
    }

    /// Another subscription takes the place of this one.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

/// What both directions of a subscription know.
struct Talk<'a> {
    session: &'a Session,
    vault: VaultId,
    signal: &'a Signal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the peer holds, as far as it said.
    theirs: Option<wire::Sync>,
    /// An announcement of ours has no answer yet.
    unanswered: bool,
    /// An announcement of the peer's waits for our answer.
    answer_due: bool,
    /// The vault is not shared with the peer as far as we know: it wants to bring it.
    guest: bool,
    stalls: u32,
    not_before: Option<Instant>,
}

/// Offers a vault to the peer.
pub(super) async fn offer(
    session: &Session,
    vault: VaultId,
    signal: &Signal,
) -> Result<Ended, SyncError> {
    let held = SyncFrame::Sync(holding(session, &vault));
    let frame = wire::frame(&held)?;
    let stream = session.connection.call(Call::Sync as u8, &frame).await?;
    talk(session, vault, signal, State::default(), stream).await
}

/// Takes part in a subscription that the peer opened. To a guest this node says that it holds nothing, whether it knows the vault or not.
pub(super) async fn accept(
    session: &Session,
    theirs: wire::Sync,
    guest: bool,
    mut stream: Stream,
    signal: &Signal,
) -> Result<Ended, SyncError> {
    let vault = theirs.vault;
    let held = if guest {
        nothing(vault)
    } else {
        holding(session, &vault)
    };
    let frame = wire::frame(&SyncFrame::Sync(held))?;
    stream.tx.send(frame).await?;
    let state = State {
        theirs: Some(theirs),
        guest,
        ..State::default()
    };
    signal.changed();
    talk(session, vault, signal, state, stream).await
}

/// Refuses a subscription. The bytes do not depend on whether the vault exists.
pub(super) async fn refuse(tx: &mut Sender, why: Refused) -> Result<(), SyncError> {
    tx.send(wire::frame(&SyncFrame::Refused(why))?).await?;
    tx.finish();
    Ok(())
}

async fn talk(
    session: &Session,
    vault: VaultId,
    signal: &Signal,
    state: State,
    stream: Stream,
) -> Result<Ended, SyncError> {
    let talk = Talk {
        session,
        vault,
        signal,
        state: Mutex::new(state),
    };
    let Stream { mut tx, mut rx } = stream;
    let ended = tokio::select! {
        ended = talk.listen(&mut rx) => ended,
        ended = talk.speak(&mut tx) => ended,
    };
    match ended {
        Err(SyncError::NotShared) => {
            refuse(&mut tx, Refused::NotFound).await?;
            Ok(Ended::Finished)
        }
        ended => ended,
    }
}

impl Talk<'_> {
    /// Answers and announces until the peer may not have the vault any more.
    async fn speak(&self, tx: &mut Sender) -> Result<Ended, SyncError> {
        loop {
            self.woken().await;
            if self.signal.ended.load(Ordering::Acquire) {
                return Ok(Ended::Finished);
            }
            let shared = self.session.syncing.shares(&self.vault, &self.session.peer);
            if !shared && !locked(&self.state).guest {
                return Err(SyncError::NotShared);
            }
            if std::mem::take(&mut locked(&self.state).answer_due) {
                let held = holding(self.session, &self.vault);
                tx.send(wire::frame(&SyncFrame::Sync(held))?).await?;
            }
            if !shared {
                continue;
            }
            if let Some(announce) = self.next_announcement()? {
                let frame = wire::frame(&SyncFrame::Announce(announce))?;
                tx.send(frame).await?;
            }
        }
    }

    /// What the peer lacks, if it may be told now.
    fn next_announcement(&self) -> Result<Option<Announce>, SyncError> {
        let theirs = {
            let mut state = locked(&self.state);
            state.guest = false;
            match &state.theirs {
                Some(theirs) if !state.unanswered => theirs.clone(),
                _ => return Ok(None),
            }
        };
        let vaults = &self.session.syncing.vaults;
        let announce = vaults
            .announce_for(&self.vault, &self.session.peer, &theirs, wire::MAX_INLINE)
            .map_err(|e| SyncError::Here(e.to_string()))?;
        if announce.is_empty() {
            return Ok(None);
        }
        locked(&self.state).unanswered = true;
        Ok(Some(announce))
    }

    /// Waits for a change, and for the end of a pause.
    async fn woken(&self) {
        let pause = locked(&self.state).not_before;
        match pause {
            None => self.signal.notify.notified().await,
            Some(until) => {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => locked(&self.state).not_before = None,
                    () = self.urgent() => {}
                }
            }
        }
    }

    /// In a pause only an answer that is due, or the end, is urgent.
    async fn urgent(&self) {
        loop {
            self.signal.notify.notified().await;
            if locked(&self.state).answer_due || self.signal.ended.load(Ordering::Acquire) {
                return;
            }
        }
    }

    async fn listen(&self, rx: &mut Receiver) -> Result<Ended, SyncError> {
        while let Some(frame) = next::<SyncFrame>(rx).await? {
            match frame {
                SyncFrame::Sync(theirs) if theirs.vault == self.vault => self.answered(theirs),
                SyncFrame::Sync(_) => return Err(SyncError::NoCall),
                SyncFrame::Announce(announce) => {
                    self.take(announce).await?;
                    locked(&self.state).answer_due = true;
                }
                SyncFrame::Refused(why) => return Ok(Ended::Refused(why)),
            }
            self.signal.changed();
        }
        Ok(Ended::Finished)
    }

    /// The peer says what it holds.
    fn answered(&self, theirs: wire::Sync) {
        let mut state = locked(&self.state);
        let stalled = state.unanswered && state.theirs.as_ref() == Some(&theirs);
        state.unanswered = false;
        state.theirs = Some(theirs);
        if stalled {
            let wait = STALL_FIRST * (1 << state.stalls.min(6));
            state.stalls += 1;
            state.not_before = Some(Instant::now() + wait.min(STALL_LONGEST));
        } else {
            state.stalls = 0;
            state.not_before = None;
        }
    }

    /// Takes in an announcement, and fetches what it builds on.
    async fn take(&self, announce: Announce) -> Result<(), SyncError> {
        let guest = {
            let mut state = locked(&self.state);
            if let Some(theirs) = &mut state.theirs {
                advance(theirs, &announce);
            }
            state.guest
        };
        let syncing = &self.session.syncing;
        let admit = guest && syncing.admits(&self.session.peer, &self.vault);
        let mut waiting = vec![announce];
        for _ in 0..MAX_ROUNDS {
            let Some(announce) = waiting.last() else {
                return Ok(());
            };
            let received = syncing
                .vaults
                .receive(&self.session.peer, &self.vault, announce, admit)
                .await
                .map_err(super::blame)?;
            match received {
                Received::Done { .. } => {
                    waiting.pop();
                }
                Received::NeedObjects { want, have } => {
                    fetch::pull(self.session, self.vault, have, want).await?;
                }
                Received::NeedParents { ops, commits } => {
                    waiting.push(fetch::need(self.session, self.vault, ops, commits).await?);
                }
            }
        }
        // Our answer tells the peer what we hold, and it starts from there.
        Ok(())
    }
}

fn holding(session: &Session, vault: &VaultId) -> wire::Sync {
    let held = session.syncing.vaults.summary(vault);
    held.unwrap_or_else(|| nothing(*vault))
}

fn nothing(vault: VaultId) -> wire::Sync {
    wire::Sync {
        vault,
        control_heads: Vec::new(),
        heads: Vec::new(),
    }
}

/// What a peer holds after it announced this. Records that do not parse change nothing; whoever judges them says so.
fn advance(theirs: &mut wire::Sync, announce: &Announce) {
    let mut control: BTreeSet<OpId> = theirs.control_heads.drain(..).collect();
    for op in announce.ops.iter().filter_map(|b| SignedOp::parse(b).ok()) {
        for parent in &op.payload().parents {
            control.remove(parent);
        }
        control.insert(op.id().into());
    }
    let mut heads: BTreeSet<CommitId> = theirs.heads.drain(..).collect();
    let commits = announce.commits.iter();
    for commit in commits.filter_map(|b| SignedCommit::parse(b).ok()) {
        for parent in &commit.payload().parents {
            heads.remove(parent);
        }
        heads.insert(commit.id().into());
    }
    theirs.control_heads = control.into_iter().take(wire::MAX_HEADS).collect();
    theirs.heads = heads.into_iter().take(wire::MAX_HEADS).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use polykey_core::commit::Commit;
    use polykey_core::keys::RootKey;

    fn commit(parents: &[CommitId], time_ms: u64) -> SignedCommit {
        let key = RootKey::from_seed(&[1; 32]);
        let commit = Commit {
            version: 1,
            vault: VaultId::from([1; 32]),
            author: key.node_id(),
            seq: 1,
            nonce: [0; 16].into(),
            parents: parents.to_vec(),
            control: Vec::new(),
            root: [0; 32].into(),
            time_ms,
            note: Vec::new().into(),
        };
        SignedCommit::sign(commit, &key)
    }

    fn announce(commits: &[&SignedCommit]) -> Announce {
        Announce {
            commits: commits.iter().map(|c| c.bytes().to_vec().into()).collect(),
            ..Announce::default()
        }
    }

    #[test]
    fn what_a_peer_announces_it_also_holds() {
        let first = commit(&[], 1);
        let second = commit(&[first.id().into()], 2);
        let mut theirs = nothing(VaultId::from([1; 32]));
        advance(&mut theirs, &announce(&[&first]));
        assert_eq!(theirs.heads, [CommitId::from(first.id())]);
        advance(&mut theirs, &announce(&[&second]));
        assert_eq!(theirs.heads, [CommitId::from(second.id())]);
        let rubbish = Announce {
            commits: vec![vec![0; 90].into()],
            ..Announce::default()
        };
        advance(&mut theirs, &rubbish);
        assert_eq!(theirs.heads, [CommitId::from(second.id())]);
    }
}
