//! What this node answers a peer: objects and records of vaults that it shares with it. For every other vault the answer is the same refusal, given
//! before anything is looked up.

use super::{Session, SyncError, first, here};
use crate::net::{Sender, Stream};
use crate::vaults::VaultError;
use minicbor::bytes::ByteVec;
use polykey_core::wire::{self, Message, ObjectsFrame, RecordsFrame, Refused};
use tokio::sync::mpsc;

/// A frame of objects is sent once it holds this much: large enough that its cost is that of its bytes, small enough to begin early.
const FRAME_FILL: usize = 256 << 10;
/// Frames read from the disk ahead of the network.
const READ_AHEAD: usize = 4;

/// Answers a pull.
pub(super) async fn pull(session: &Session, mut stream: Stream) -> Result<(), SyncError> {
    let call: wire::Pull = first(&mut stream.rx).await?;
    if !session.syncing.shares(&call.vault, &session.peer) {
        return end(&mut stream.tx, &ObjectsFrame::Refused(Refused::NotFound)).await;
    }
    if !session.syncing.vaults.is_whole(&call.vault, &call.want) {
        return end(&mut stream.tx, &ObjectsFrame::Refused(Refused::Pruned)).await;
    }
    let _turn = session.served_pulls.acquire().await;
    let vaults = session.syncing.vaults.clone();
    let budget = usize::try_from(call.budget).unwrap_or(usize::MAX);
    let read = move |frames: &mut Frames| {
        for address in vaults.pull(&call.vault, &call.have, &call.want)? {
            let Some(object) = vaults.object(&call.vault, &address)? else {
                continue;
            };
            if frames.total + object.len() > budget || !frames.add(object) {
                break;
            }
        }
        Ok(())
    };
    stream_objects(&mut stream.tx, read).await
}

/// Answers a request for objects by address.
pub(super) async fn get(session: &Session, mut stream: Stream) -> Result<(), SyncError> {
    let call: wire::Get = first(&mut stream.rx).await?;
    if !session.syncing.shares(&call.vault, &session.peer) {
        return end(&mut stream.tx, &ObjectsFrame::Refused(Refused::NotFound)).await;
    }
    let _turn = session.served_pulls.acquire().await;
    let vaults = session.syncing.vaults.clone();
    let read = move |frames: &mut Frames| {
        for address in &call.addresses {
            if let Some(object) = vaults.object(&call.vault, address)?
                && !frames.add(object)
            {
                break;
            }
        }
        Ok(())
    };
    stream_objects(&mut stream.tx, read).await
}

/// Answers a request for records by id.
pub(super) async fn need(session: &Session, mut stream: Stream) -> Result<(), SyncError> {
    let call: wire::Need = first(&mut stream.rx).await?;
    if !session.syncing.shares(&call.vault, &session.peer) {
        return end(&mut stream.tx, &RecordsFrame::Refused(Refused::NotFound)).await;
    }
    let vaults = &session.syncing.vaults;
    let found = vaults
        .records(&call.vault, &call.ops, &call.commits)
        .map_err(|e| here(&e))?;
    let records = |found: Vec<Vec<u8>>| found.into_iter().map(ByteVec::from).collect();
    for frame in record_frames(records(found.0), records(found.1)) {
        stream.tx.send(wire::frame(&frame)?).await?;
    }
    end(&mut stream.tx, &RecordsFrame::End).await
}

async fn end<M: Message>(tx: &mut Sender, last: &M) -> Result<(), SyncError> {
    tx.send(wire::frame(last)?).await?;
    tx.finish();
    Ok(())
}

/// Reads on a thread that may block, and sends what it has read meanwhile.
async fn stream_objects(
    tx: &mut Sender,
    read: impl FnOnce(&mut Frames) -> Result<(), VaultError> + Send + 'static,
) -> Result<(), SyncError> {
    let (to_network, mut ready) = mpsc::channel(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        let mut frames = Frames::new(to_network);
        read(&mut frames)?;
        frames.flush();
        Ok::<_, VaultError>(())
    });
    while let Some(objects) = ready.recv().await {
        tx.send(wire::frame(&ObjectsFrame::Objects(objects))?)
            .await?;
    }
    match reading.await {
        Ok(read) => read.map_err(|e| here(&e))?,
        Err(error) => return Err(SyncError::Here(error.to_string())),
    }
    end(tx, &ObjectsFrame::End).await
}

/// Gathers objects into frames.
struct Frames {
    to_network: mpsc::Sender<Vec<ByteVec>>,
    objects: Vec<ByteVec>,
    bytes: usize,
    total: usize,
}

impl Frames {
    fn new(to_network: mpsc::Sender<Vec<ByteVec>>) -> Self {
        Frames {
            to_network,
            objects: Vec::new(),
            bytes: 0,
            total: 0,
        }
    }

    /// Adds an object; whether anyone still wants more.
    fn add(&mut self, object: Vec<u8>) -> bool {
        self.bytes += object.len();
        self.total += object.len();
        self.objects.push(object.into());
        if self.bytes >= FRAME_FILL || self.objects.len() == wire::MAX_OBJECTS {
            return self.flush();
        }
        true
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        let objects = std::mem::take(&mut self.objects);
        objects.is_empty() || self.to_network.blocking_send(objects).is_ok()
    }
}

/// Cuts records into frames that are no larger than a frame may be, parents first as they came.
fn record_frames(ops: Vec<ByteVec>, commits: Vec<ByteVec>) -> Vec<RecordsFrame> {
    let mut frames = Vec::new();
    let (mut some_ops, mut some_commits, mut bytes) = (Vec::new(), Vec::new(), 0);
    let records = ops.into_iter().map(|o| (true, o));
    for (is_op, record) in records.chain(commits.into_iter().map(|c| (false, c))) {
        if bytes + record.len() > FRAME_FILL && bytes > 0 {
            frames.push(RecordsFrame::Records {
                ops: std::mem::take(&mut some_ops),
                commits: std::mem::take(&mut some_commits),
            });
            bytes = 0;
        }
        bytes += record.len();
        if is_op {
            some_ops.push(record);
        } else {
            some_commits.push(record);
        }
    }
    if bytes > 0 {
        frames.push(RecordsFrame::Records {
            ops: some_ops,
            commits: some_commits,
        });
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_cut_into_frames_that_fit_and_keep_their_order(
            ops in proptest::collection::vec(0_usize..70_000, 0..20),
            commits in proptest::collection::vec(0_usize..4_000, 0..100),
        ) {
            let record = |(at, length): (usize, &usize)| ByteVec::from(vec![u8::try_from(at).unwrap(); length + 1]);
            let ops: Vec<_> = ops.iter().enumerate().map(record).collect();
            let commits: Vec<_> = commits.iter().enumerate().map(record).collect();
            let (mut all_ops, mut all_commits) = (Vec::new(), Vec::new());
            for frame in record_frames(ops.clone(), commits.clone()) {
                prop_assert!(wire::frame(&frame).is_ok());
                let RecordsFrame::Records { ops, commits } = frame else { unreachable!() };
                all_ops.extend(ops);
                all_commits.extend(commits);
            }
            prop_assert_eq!((all_ops, all_commits), (ops, commits));
        }
    }
}
