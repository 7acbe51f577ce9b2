//! One vault between two nodes: the stream that stays open. Each side says once what it holds; from then on whoever has something new announces it, and
//! the other answers every announcement with what it holds then.
//!
//! At most one announcement is on its way in each direction, and what changes meanwhile is one dirty flag, not a queue: a slow peer gets the newest
//! state, and an announcement is never stuck behind another that nobody reads.

use super::{Session, SyncError, fetch, locked, next};
use crate::net::{Receiver, Sender, Stream};
use crate::vaults::{Offer, Received, SyncHeads, Told};
use minicbor::bytes::ByteVec;
use polykey_core::beat::SignedBeat;
use polykey_core::commit::SignedCommit;
use polykey_core::control::SignedOp;
use polykey_core::ids::{CommitId, NodeId, OpId, VaultId};
use polykey_core::wire::{self, Announce, Call, Refused, SyncFrame};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, SemaphorePermit};
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
    news: AtomicBool,
    ended: AtomicBool,
}

impl Signal {
    /// Something is new in the vault, or in who may have it.
    pub(super) fn changed(&self) {
        self.news.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// There is a newer beat, which ends no pause.
    pub(super) fn beaten(&self) {
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
    state: Mutex<State<'a>>,
    /// Wakes who looks for what is missing of the past.
    back: Notify,
}

#[derive(Default)]
struct State<'a> {
    /// What the peer holds by its own words: what it said last, and what it announced since.
    theirs: Option<SyncHeads>,
    /// The same, and what it was told since.
    told: Told,
    /// The ancestors of what the peer held at first were looked up.
    learned: bool,
    /// The beats that the peer has, by author.
    beats: BTreeMap<NodeId, u64>,
    /// An announcement of ours has no answer yet.
    unanswered: bool,
    /// An announcement of the peer's waits for our answer.
    answer_due: bool,
    /// The vault is not shared with the peer as far as we know: it wants to bring it.
    guest: Option<SemaphorePermit<'a>>,
    stalls: u32,
    not_before: Option<Instant>,
}

impl State<'_> {
    fn heard(&mut self, theirs: SyncHeads) {
        self.told.heard(&theirs);
        self.theirs = Some(theirs);
    }
}

/// Offers a vault to the peer.
pub(super) async fn offer(
    session: &Session,
    vault: VaultId,
    signal: &Signal,
) -> Result<Ended, SyncError> {
    let held = SyncFrame::Sync(holding(session, vault));
    let frame = wire::frame(&held)?;
    let stream = session.connection.call(Call::Sync as u8, &frame).await?;
    talk(session, vault, signal, State::default(), stream).await
}

/// Takes part in a subscription that the peer opened. To a guest this node says that it holds nothing, whether it knows the vault or not.
pub(super) async fn accept(
    session: &Session,
    theirs: wire::Sync,
    guest: Option<SemaphorePermit<'_>>,
    mut stream: Stream,
    signal: &Signal,
) -> Result<Ended, SyncError> {
    let vault = theirs.vault;
    let held = if guest.is_some() {
        message(vault, SyncHeads::default())
    } else {
        holding(session, vault)
    };
    let frame = wire::frame(&SyncFrame::Sync(held))?;
    stream.tx.send(frame).await?;
    let mut state = State {
        guest,
        ..State::default()
    };
    state.heard(heads(theirs));
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
    state: State<'_>,
    stream: Stream,
) -> Result<Ended, SyncError> {
    let talk = Talk {
        session,
        vault,
        signal,
        state: Mutex::new(state),
        back: Notify::new(),
    };
    let _counted = Subscribed::to(session, vault);
    let Stream { mut tx, mut rx } = stream;
    let ended = tokio::select! {
        ended = talk.listen(&mut rx) => ended,
        ended = talk.speak(&mut tx) => ended,
        ended = talk.look_back() => ended,
    };
    match ended {
        Err(SyncError::NotShared) => {
            refuse(&mut tx, Refused::NotFound).await?;
            Ok(Ended::Finished)
        }
        Err(SyncError::Full) => {
            tracing::warn!(peer = %session.peer.short(), vault = %vault.short(), "a vault has reached its limit of bytes on this node; nothing more of it is taken");
            refuse(&mut tx, Refused::Busy).await?;
            Ok(Ended::Refused(Refused::Busy))
        }
        ended => ended,
    }
}

/// Counts an open subscription.
struct Subscribed<'a>(&'a Session, VaultId);

impl Subscribed<'_> {
    fn to(session: &Session, vault: VaultId) -> Subscribed<'_> {
        let mut all = locked(&session.syncing.subscribed);
        *all.entry(vault).or_default() += 1;
        Subscribed(session, vault)
    }
}

impl Drop for Subscribed<'_> {
    fn drop(&mut self) {
        let mut all = locked(&self.0.syncing.subscribed);
        if let Some(count) = all.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.1);
            }
        }
    }
}

/// Versions are fetched from the peer, until this is dropped.
struct Fetching<'a>(&'a Session, VaultId);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let Fetching(session, vault) = self;
        session.syncing.vaults.fetched(vault, &session.peer);
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
            let shared = self.shared();
            if !shared && locked(&self.state).guest.is_none() {
                return Err(SyncError::NotShared);
            }
            if std::mem::take(&mut locked(&self.state).answer_due) {
                let held = holding(self.session, self.vault);
                tx.send(wire::frame(&SyncFrame::Sync(held))?).await?;
            }
            if !shared {
                continue;
            }
            locked(&self.state).guest = None;
            self.learn().await?;
            self.note_past();
            if let Some(announce) = self.next_announcement()? {
                let frame = wire::frame(&SyncFrame::Announce(announce))?;
                tx.send(frame).await?;
            }
            let vaults = &self.session.syncing.vaults;
            let beats = vaults.beats_beyond(&self.vault, &mut locked(&self.state).beats);
            if !beats.is_empty() {
                let beats = beats.into_iter().map(Into::into).collect();
                tx.send(wire::frame(&SyncFrame::Beats(beats))?).await?;
            }
        }
    }

    /// Beats of a vault that is shared; from a guest they mean nothing.
    async fn take_beats(&self, beats: &[ByteVec]) -> Result<(), SyncError> {
        let syncing = &self.session.syncing;
        syncing.paced(self.session.peer, beats.len()).await;
        if !self.shared() {
            return Ok(());
        }
        for beat in beats.iter().filter_map(|b| SignedBeat::parse(b).ok()) {
            let (author, time) = (beat.payload().author, beat.payload().time_ms);
            let told = &mut locked(&self.state).beats;
            if told.len() < wire::MAX_BEATS || told.contains_key(&author) {
                let newest = told.entry(author).or_default();
                *newest = time.max(*newest);
            }
        }
        let taken = syncing.vaults.take_beats(&self.vault, beats);
        taken.map_err(super::blame)
    }

    fn shared(&self) -> bool {
        self.session.syncing.shares(&self.vault, &self.session.peer)
    }

    /// Looks up the ancestors of what the peer holds and this node does not know, back to what it knows; else it would announce all that they have in
    /// common. Once, when the peer has said what it holds: what changes later is remembered.
    async fn learn(&self) -> Result<(), SyncError> {
        let mut unknown = {
            let mut state = locked(&self.state);
            match &state.theirs {
                Some(theirs) if !state.learned => {
                    let unknown = self.unknown(theirs);
                    state.learned = true;
                    unknown
                }
                _ => return Ok(()),
            }
        };
        for _ in 0..MAX_ROUNDS {
            if unknown == SyncHeads::default() {
                break;
            }
            let SyncHeads {
                control_heads,
                heads,
            } = unknown;
            let found = fetch::need(self.session, self.vault, control_heads, heads).await?;
            let parents = parents(&found);
            locked(&self.state).told.heard(&parents);
            unknown = self.unknown(&parents);
        }
        Ok(())
    }

    /// After a restore a vault is written to when it holds what the peer holds.
    fn note_past(&self) {
        let standing = self.session.syncing.vaults.standing();
        if !standing.awaits(&self.vault, &self.session.peer) {
            return;
        }
        let theirs = locked(&self.state).theirs.clone();
        let vaults = &self.session.syncing.vaults;
        let here = |theirs: SyncHeads| {
            let whole = |id: &CommitId| vaults.is_whole(&self.vault, id);
            self.unknown(&theirs) == SyncHeads::default() && theirs.heads.iter().all(whole)
        };
        if theirs.is_some_and(here) {
            standing.caught_up(&self.vault, &self.session.peer);
        }
    }

    fn unknown(&self, heads: &SyncHeads) -> SyncHeads {
        let vaults = &self.session.syncing.vaults;
        let control = vaults.control(&self.vault);
        let new_op = |op: &&OpId| control.as_ref().is_none_or(|c| !c.contains(op));
        let new_commit = |commit: &&CommitId| vaults.root_of(&self.vault, commit).is_none();
        SyncHeads {
            control_heads: heads.control_heads.iter().filter(new_op).copied().collect(),
            heads: heads.heads.iter().filter(new_commit).copied().collect(),
        }
    }

    /// What the peer lacks, if it may be told now.
    fn next_announcement(&self) -> Result<Option<Announce>, SyncError> {
        let mut state = locked(&self.state);
        if state.theirs.is_none() || state.unanswered || state.not_before.is_some() {
            return Ok(None);
        }
        let vaults = &self.session.syncing.vaults;
        let announce = vaults
            .announce_for(&self.vault, &mut state.told, wire::MAX_INLINE)
            .map_err(|e| super::here(&e))?;
        if announce.is_empty() {
            self.settle(&mut state);
            return Ok(None);
        }
        state.unanswered = true;
        Ok(Some(announce))
    }

    /// The peer was told everything. Either it holds what this node holds, and what it was told need not be remembered; or it could not take it, and is
    /// told again later.
    fn settle(&self, state: &mut State<'_>) {
        let ours = self.session.syncing.vaults.summary(&self.vault);
        let (Some(theirs), Some(ours)) = (&state.theirs, ours) else {
            return;
        };
        if *theirs == ours {
            state.told.settled(&ours);
            state.stalls = 0;
        } else if self.unknown(theirs) == SyncHeads::default() {
            state.told = Told::new(theirs);
            let wait = STALL_FIRST * (1 << state.stalls.min(6));
            state.stalls += 1;
            state.not_before = Some(Instant::now() + wait.min(STALL_LONGEST));
        }
    }

    /// Waits until there is something to do. News ends a pause.
    async fn woken(&self) {
        let pause = locked(&self.state).not_before;
        let over = tokio::select! {
            () = super::sleep_until(pause) => true,
            () = self.signal.notify.notified() => self.signal.news.swap(false, Ordering::AcqRel),
        };
        if over {
            locked(&self.state).not_before = None;
        }
    }

    async fn listen(&self, rx: &mut Receiver) -> Result<Ended, SyncError> {
        while let Some(frame) = next::<SyncFrame>(rx).await? {
            match frame {
                SyncFrame::Sync(theirs) if theirs.vault == self.vault => {
                    let mut state = locked(&self.state);
                    state.heard(heads(theirs));
                    state.unanswered = false;
                }
                SyncFrame::Sync(_) => return Err(SyncError::NoCall),
                SyncFrame::Announce(announce) => {
                    let records =
                        announce.ops.len() + announce.wraps.len() + announce.commits.len();
                    let syncing = &self.session.syncing;
                    syncing.paced(self.session.peer, records).await;
                    self.take(announce).await?;
                    locked(&self.state).answer_due = true;
                }
                SyncFrame::Beats(beats) => {
                    self.take_beats(&beats).await?;
                    continue;
                }
                SyncFrame::Refused(why) => return Ok(Ended::Refused(why)),
            }
            self.signal.notify.notify_one();
            self.back.notify_one();
        }
        Ok(Ended::Finished)
    }

    /// Takes in an announcement, and fetches what it builds on.
    async fn take(&self, announce: Announce) -> Result<(), SyncError> {
        let (guest, more) = {
            let mut state = locked(&self.state);
            let mut more = false;
            if let Some(theirs) = &mut state.theirs {
                more = !theirs.heads.is_empty() && !has_any(&announce, &theirs.heads);
                advance(theirs, &announce);
                let theirs = theirs.clone();
                state.told.heard(&theirs);
            }
            (state.guest.is_some(), more)
        };
        let mut offer = Offer {
            heads: self.theirs().unwrap_or_default(),
            absent: HashSet::new(),
        };
        let _fetching = Fetching(self.session, self.vault);
        let mut waiting = vec![announce];
        for _ in 0..MAX_ROUNDS {
            let Some(announce) = waiting.last() else {
                break;
            };
            let mut received = self.receive(announce.clone(), &offer, guest).await?;
            while let Received::NeedObjects(pulls) = &received {
                // Who has nothing yet hears all of the history first, and then takes the newest before the past.
                if more && self.shows_nothing() {
                    break;
                }
                let fetched = fetch::objects(self.session, self.vault, pulls).await?;
                let known = offer.absent.len();
                offer.absent.extend(fetched.absent);
                if !fetched.some && offer.absent.len() == known {
                    break;
                }
                let nothing = Announce::default();
                received = self.receive(nothing, &offer, guest).await?;
            }
            if let Received::NeedRecords { ops, commits } = received {
                let found = fetch::need(self.session, self.vault, ops, commits).await?;
                if found.is_empty() {
                    break;
                }
                waiting.push(found);
            } else {
                waiting.pop();
            }
        }
        // With rounds or records at an end, our answer tells the peer what we hold, and it starts from there.
        if guest && !self.shared() {
            return Err(SyncError::NotShared);
        }
        Ok(())
    }

    fn shows_nothing(&self) -> bool {
        let ours = self.session.syncing.vaults.summary(&self.vault);
        ours.is_none_or(|ours| ours.heads.is_empty())
    }

    /// Fetches the past behind what is shown whenever some of it is not here: from one peer at a time, and beside everything else.
    async fn look_back(&self) -> Result<Ended, SyncError> {
        let vaults = &self.session.syncing.vaults;
        let mut not_there = HashSet::new();
        loop {
            self.back.notified().await;
            let Some(turn) = vaults
                .turn_to_look_back(&self.vault)
                .filter(|_| self.shared())
            else {
                continue;
            };
            let _turn = turn.lock_owned().await;
            loop {
                let pulls = vaults.past_to_pull(&self.vault, &not_there);
                let pulls = pulls.map_err(|e| super::here(&e))?;
                if pulls.is_empty() {
                    break;
                }
                fetch::pull(self.session, self.vault, &pulls).await?;
                let placed = vaults.receive_past(&self.session.peer, &self.vault);
                placed.await.map_err(super::blame)?;
                let whole = |id: &CommitId| vaults.is_whole(&self.vault, id);
                let wanted = pulls.iter().map(|pull| pull.want);
                not_there.extend(wanted.filter(|id| !whole(id)));
            }
        }
    }

    /// The heads that the peer said it shows.
    fn theirs(&self) -> Option<Vec<CommitId>> {
        let state = locked(&self.state);
        state.theirs.as_ref().map(|theirs| theirs.heads.clone())
    }

    async fn receive(
        &self,
        announce: Announce,
        offer: &Offer,
        guest: bool,
    ) -> Result<Received, SyncError> {
        let (syncing, peer) = (&self.session.syncing, &self.session.peer);
        let admit = guest && syncing.admits(peer, &self.vault);
        let vaults = &syncing.vaults;
        let received = vaults.receive_of(peer, &self.vault, announce, offer, admit);
        received.await.map_err(super::blame)
    }
}

fn holding(session: &Session, vault: VaultId) -> wire::Sync {
    let held = session.syncing.vaults.summary(&vault);
    message(vault, held.unwrap_or_default())
}

fn message(vault: VaultId, mut held: SyncHeads) -> wire::Sync {
    held.control_heads.truncate(wire::MAX_HEADS);
    held.heads.truncate(wire::MAX_HEADS);
    wire::Sync {
        vault,
        control_heads: held.control_heads,
        heads: held.heads,
    }
}

fn heads(said: wire::Sync) -> SyncHeads {
    SyncHeads {
        control_heads: said.control_heads,
        heads: said.heads,
    }
}

/// What a peer holds after it announced this. Records that do not parse change nothing; whoever judges them says so.
fn advance(theirs: &mut SyncHeads, announce: &Announce) {
    let older = parents(announce);
    let mut control: BTreeSet<OpId> = theirs.control_heads.drain(..).collect();
    control.extend(parsed_ops(announce).map(|op| OpId::from(op.id())));
    let mut commits: BTreeSet<CommitId> = theirs.heads.drain(..).collect();
    commits.extend(parsed_commits(announce).map(|commit| CommitId::from(commit.id())));
    let is_head = |op: &OpId| !older.control_heads.contains(op);
    theirs.control_heads = control.into_iter().filter(is_head).collect();
    let is_head = |commit: &CommitId| !older.heads.contains(commit);
    theirs.heads = commits.into_iter().filter(is_head).collect();
    theirs.control_heads.truncate(wire::MAX_HEADS);
    theirs.heads.truncate(wire::MAX_HEADS);
}

/// Whether an announcement has one of these commits.
fn has_any(announce: &Announce, ids: &[CommitId]) -> bool {
    let mut announced = parsed_commits(announce).map(|commit| CommitId::from(commit.id()));
    announced.any(|id| ids.contains(&id))
}

/// What the records of an announcement build on.
fn parents(announce: &Announce) -> SyncHeads {
    let ops: BTreeSet<OpId> = parsed_ops(announce)
        .flat_map(|op| op.payload().parents.clone())
        .collect();
    let commits: BTreeSet<CommitId> = parsed_commits(announce)
        .flat_map(|commit| commit.payload().parents.clone())
        .collect();
    SyncHeads {
        control_heads: ops.into_iter().take(wire::MAX_RECORDS / 2).collect(),
        heads: commits.into_iter().take(wire::MAX_RECORDS / 2).collect(),
    }
}

fn parsed_ops(announce: &Announce) -> impl Iterator<Item = SignedOp> {
    let ops = announce.ops.iter();
    ops.filter_map(|bytes| SignedOp::parse(bytes).ok())
}

fn parsed_commits(announce: &Announce) -> impl Iterator<Item = SignedCommit> {
    let commits = announce.commits.iter();
    commits.filter_map(|bytes| SignedCommit::parse(bytes).ok())
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
        let mut theirs = SyncHeads::default();
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
