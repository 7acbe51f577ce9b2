//! What this node asks of a peer: the objects of a version, single objects, and records by id.

use super::{Session, SyncError, next};
use crate::net::Stream;
use polykey_core::ids::{Address, CommitId, OpId, VaultId};
use polykey_core::wire::{self, Announce, Call, Message, ObjectsFrame, RecordsFrame};
use tokio::sync::mpsc;

/// Frames that wait for the disk while more arrive: enough to keep both busy, 1 MiB each at most.
const PIPELINE: usize = 4;

/// Fetches and stores what `want` needs beyond the versions in `have`. What arrived stays, even if the call breaks off.
pub(super) async fn pull(
    session: &Session,
    vault: VaultId,
    have: Vec<CommitId>,
    want: CommitId,
) -> Result<(), SyncError> {
    let call = wire::Pull {
        vault,
        have,
        want,
        budget: u64::MAX,
    };
    objects(session, vault, Call::Pull, &call).await
}

/// Fetches and stores objects by address.
pub(super) async fn get(
    session: &Session,
    vault: VaultId,
    addresses: &[Address],
) -> Result<(), SyncError> {
    for part in addresses.chunks(wire::MAX_ADDRESSES) {
        let call = wire::Get {
            vault,
            addresses: part.to_vec(),
        };
        objects(session, vault, Call::Get, &call).await?;
    }
    Ok(())
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

async fn objects<M: Message>(
    session: &Session,
    vault: VaultId,
    call: Call,
    message: &M,
) -> Result<(), SyncError> {
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
    let store = async {
        while let Some(objects) = arrived.recv().await {
            let objects = objects.into_iter().map(Vec::from).collect();
            session
                .syncing
                .vaults
                .store_objects(&vault, objects)
                .await
                .map_err(super::blame)?;
        }
        Ok(())
    };
    let (received, stored) = tokio::join!(receive, store);
    stored.and(received)
}
