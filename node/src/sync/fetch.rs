//! What this node asks of a peer: the objects of a version, single objects, and records by id.

use super::{Session, SyncError, next};
use crate::net::Stream;
use polykey_core::growing::Pull;
use polykey_core::ids::{Address, CommitId, OpId, VaultId};
use polykey_core::wire::{self, Announce, Call, Message, ObjectsFrame, RecordsFrame, Refused};
use tokio::sync::mpsc;

/// Frames that wait for the disk while more arrive: enough to keep both busy, 1 MiB each at most.
const PIPELINE: usize = 8;

/// What came of asking a peer for versions.
#[derive(Default)]
pub(super) struct Fetched {
    /// Some object that was wanted came.
    pub some: bool,
    /// Versions that it has not got: it let go of them, or waits for them too.
    pub absent: Vec<CommitId>,
}

/// Fetches and stores what the versions that are arriving lack: each one's difference to its parents in one call, all of them at once; if a part of the first is here already,
/// since an earlier call broke off, what is missing by its address. What arrived stays, however the calls end.
pub(super) async fn objects(
    session: &Session,
    vault: VaultId,
    pulls: &[Pull],
) -> Result<Fetched, SyncError> {
    let arriving = session.syncing.vaults.arriving(&vault, &session.peer);
    if let Some((wanted, true)) = arriving
        && get(session, vault, wanted).await?
    {
        return Ok(Fetched {
            some: true,
            absent: Vec::new(),
        });
    }
    pull(session, vault, pulls).await
}

/// Fetches each version's difference to what is here by then.
pub(super) async fn pull(
    session: &Session,
    vault: VaultId,
    pulls: &[Pull],
) -> Result<Fetched, SyncError> {
    let calls = pulls.iter().map(|pull| async move {
        let call = wire::Pull {
            vault,
            have: pull.have.clone(),
            want: pull.want,
            budget: u64::MAX,
        };
        (pull.want, take(session, vault, Call::Pull, &call).await)
    });
    let mut fetched = Fetched::default();
    for (want, taken) in futures::future::join_all(calls).await {
        match taken {
            Ok(kept) => fetched.some |= kept > 0,
            Err(SyncError::Refused(Refused::Pruned)) => fetched.absent.push(want),
            Err(e) => return Err(e),
        }
    }
    Ok(fetched)
}

/// Objects bring the addresses below them, until nothing is wanted or the peer has no more.
async fn get(
    session: &Session,
    vault: VaultId,
    mut wanted: Vec<Address>,
) -> Result<bool, SyncError> {
    let mut some = false;
    while !wanted.is_empty() {
        wanted.truncate(wire::MAX_ADDRESSES);
        let call = wire::Get {
            vault,
            addresses: wanted,
        };
        if take(session, vault, Call::Get, &call).await? == 0 {
            break;
        }
        some = true;
        let arriving = session.syncing.vaults.arriving(&vault, &session.peer);
        wanted = arriving.map_or(Vec::new(), |(wanted, _)| wanted);
    }
    Ok(some)
}

/// Fetches operations and commits by id.
pub(super) async fn need(
    session: &Session,
    vault: VaultId,
    ops: Vec<OpId>,
    commits: Vec<CommitId>,
) -> Result<Announce, SyncError> {
    let call = wire::Need {
        vault,
        ops,
        commits,
    };
    let _turn = session.needs.acquire().await;
    let mut stream = ask(session, Call::Need, &call).await?;
    let mut found = Announce::default();
    while let Some(frame) = next::<RecordsFrame>(&mut stream.rx).await? {
        match frame {
            RecordsFrame::Records { ops, commits } => {
                found.ops.extend(ops);
                found.commits.extend(commits);
            }
            RecordsFrame::End => return Ok(found),
            RecordsFrame::Refused(why) => return Err(SyncError::Refused(why)),
        }
        if found.ops.len() + found.commits.len() > wire::MAX_RECORDS {
            return Err(SyncError::NoCall);
        }
    }
    Err(SyncError::EndedEarly)
}

async fn ask<M: Message>(session: &Session, call: Call, message: &M) -> Result<Stream, SyncError> {
    let frame = wire::frame(message)?;
    let mut stream = session.connection.call(call as u8, &frame).await?;
    stream.tx.finish();
    Ok(stream)
}

/// Makes a call that is answered with objects, and stores them while more arrive. Gives how many were kept.
async fn take<M: Message>(
    session: &Session,
    vault: VaultId,
    call: Call,
    message: &M,
) -> Result<usize, SyncError> {
    let _turn = session.pulls.acquire().await;
    let mut stream = ask(session, call, message).await?;
    let (to_disk, mut arrived) = mpsc::channel(PIPELINE);
    let receive = async move {
        while let Some(frame) = next::<ObjectsFrame>(&mut stream.rx).await? {
            match frame {
                ObjectsFrame::Objects(objects) => {
                    if to_disk.send(objects).await.is_err() {
                        return Ok(());
                    }
                }
                ObjectsFrame::End => return Ok(()),
                ObjectsFrame::Refused(why) => return Err(SyncError::Refused(why)),
            }
        }
        Err(SyncError::EndedEarly)
    };
    let store = async move {
        let (mut kept, mut frames) = (0, Vec::new());
        while arrived.recv_many(&mut frames, PIPELINE).await > 0 {
            let objects = frames.drain(..).flatten().map(Vec::from).collect();
            let stored = session.syncing.vaults.store_objects(&vault, objects).await;
            kept += stored.map_err(super::blame)?;
        }
        Ok::<usize, SyncError>(kept)
    };
    let (received, stored): (Result<(), SyncError>, _) = tokio::join!(receive, store);
    let kept = stored?;
    received.map(|()| kept)
}
