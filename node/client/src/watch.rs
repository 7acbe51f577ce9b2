//! The watch of a workload: `GET /v1/watch?names=app,tls&have=<commit>,…` answers with a stream of frames, each a u32 length (big-endian) and one canonical
//! CBOR [`Frame`].
//!
//! A version in `have` that is several heads together is their ids joined by dots.
//!
//! First `Nodes`, then for every name one of `Snapshot`, `Refused` or, when the version in `have` is the one served, `Current`; from then on a `Change` for every
//! new version. Large contents are split: a `Snapshot` or `Change` with `more` is followed by `Part`s of the same name until one has `more = false`.

use crate::api::Secret;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use polykey_core::ids::{CommitId, EpochId, NodeId, VaultId};

/// The largest frame, in bytes: one part of [`PART_BYTES`], one object or file over it, and the headers of a long control log.
pub const MAX_FRAME: usize = 4 << 20;
/// About how many bytes of objects or files go into one frame before it is split.
pub const PART_BYTES: usize = 1 << 20;
/// The most names that one watch may ask for: a pod with more vaults than this is a mistake.
pub const MAX_NAMES: usize = 64;
/// The most commits of one version in `have`: a watcher that holds more heads together is sent all anew. Sixteen with their dots are 1 KiB of the query.
pub const MAX_HAVE_HEADS: usize = 16;
/// Seconds between two `Ping`s.
pub const PING_SECONDS: u64 = 10;
/// Seconds of silence after which a watcher redials.
pub const SILENCE_SECONDS: u64 = 25;

/// One frame from a node to a sidecar. Not printable: it may hold values.
#[derive(Encode, Decode)]
pub enum Frame {
    /// The nodes of this cluster. Replaces the pins that the pod was admitted with.
    #[n(0)]
    Nodes(#[n(0)] Vec<NodeAddress>),
    /// All of a version.
    #[n(1)]
    Snapshot(#[n(0)] Content),
    /// What a version changed since the one that the watcher holds.
    #[n(2)]
    Change(#[n(0)] Content),
    /// More objects or files of the `Snapshot` or `Change` of that name before it.
    #[n(3)]
    Part(#[n(0)] Part),
    /// The version that the watcher said it holds is the one served.
    #[n(4)]
    Current(#[n(0)] Named),
    /// This node does not know the version that the watcher holds: keep the files, ask another node.
    #[n(5)]
    Behind(#[n(0)] Named),
    /// The workload may not read this name now. The watch goes on; a `Snapshot` follows when that changes.
    #[n(6)]
    Refused(#[n(0)] Refusal),
    /// Access was taken back: keep the files, be not ready.
    #[n(7)]
    Gone(#[n(0)] Refusal),
    /// The node ends the watch: read the token again and reopen, perhaps elsewhere.
    #[n(8)]
    Bye(#[n(0)] String),
    /// The node is alive.
    #[n(9)]
    Ping,
}

/// A node and where its TLS API is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct NodeAddress {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// `host:port`, its headless name; empty when unknown.
    #[n(1)]
    pub address: String,
}

/// A name, alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Named {
    /// Name of the PolykeyVault.
    #[n(0)]
    pub name: String,
}

/// Why a name is not served.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Refusal {
    /// Name of the PolykeyVault.
    #[n(0)]
    pub name: String,
    /// One of the frozen reasons, such as `ServiceAccountNotListed`.
    #[n(1)]
    pub reason: String,
    /// A sentence for the namespace's admin.
    #[n(2)]
    pub message: String,
}

/// A version: the signed things that prove it, and its contents.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Content {
    /// `Rule::id` in force.
    #[n(0)]
    pub rule: String,
    /// Name of the PolykeyVault.
    #[n(1)]
    pub name: String,
    /// The vault.
    #[n(2)]
    pub vault: VaultId,
    /// The version: id of the one commit, or that of all `commits` together (`polykey_core::view::version`).
    #[n(3)]
    pub version: CommitId,
    /// Only versions by one of these authors are right. Empty: any live writer.
    #[n(4)]
    pub signers: Vec<NodeId>,
    /// `Rule::delivery` as JSON.
    #[n(5)]
    pub delivery: ByteVec,
    /// Signed control operations in order; in a `Change` only those after the ones sent before.
    #[n(6)]
    pub control: Vec<ByteVec>,
    /// The signed commits of the version: one, or, in any order, all heads that stand side by side. Then the body is plain files, since no one tree holds what they show.
    #[n(7)]
    pub commits: Vec<ByteVec>,
    /// What is in it.
    #[n(8)]
    pub body: Body,
    /// `Part`s follow.
    #[n(9)]
    pub more: bool,
    /// The rule pins this version, so it may be older than one that was served.
    #[n(10)]
    pub pinned: bool,
}

/// Contents of a version.
#[derive(Encode, Decode)]
pub enum Body {
    /// The rule covers the whole vault: sealed objects, checked up to the signed root by the watcher.
    #[n(0)]
    Sealed(#[n(0)] Sealed),
    /// The rule has paths: values, the node's word.
    #[n(1)]
    Files(#[n(0)] Files),
}

/// Sealed objects and the keys that open them.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Sealed {
    /// Objects of the tree that the watcher does not have yet, parents first.
    #[n(0)]
    pub objects: Vec<ByteVec>,
    /// Keys of each epoch that the tree uses and that were not sent before on this watch.
    #[n(1)]
    pub keys: Vec<EpochKeys>,
}

/// What opens and checks the objects of one epoch (never the epoch's secret).
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct EpochKeys {
    /// The epoch.
    #[n(0)]
    pub epoch: EpochId,
    /// 64 bytes: `polykey_core::seal::ObjectKeys::to_bytes`.
    #[n(1)]
    pub keys: Secret,
}

/// Plain files.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Files {
    /// Written or changed.
    #[n(0)]
    pub put: Vec<File>,
    /// Paths that are no more.
    #[n(1)]
    pub removed: Vec<String>,
}

/// One plain file.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct File {
    /// Path in the vault.
    #[n(0)]
    pub path: String,
    /// File mode.
    #[n(1)]
    pub mode: u32,
    /// Value, or the next piece of one.
    #[n(2)]
    pub value: Secret,
    /// Bytes that follow: the next file is of the same path and goes on with it. Absent when all of it is here.
    #[n(3)]
    pub rest: Option<u64>,
}

/// A continuation.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Part {
    /// Name of the PolykeyVault.
    #[n(0)]
    pub name: String,
    /// The same kind of body as the frame that it continues.
    #[n(1)]
    pub body: Body,
    /// More follow.
    #[n(2)]
    pub more: bool,
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is zero or over [`MAX_FRAME`].
    #[error("a frame of {0} bytes; the most is {MAX_FRAME}")]
    Length(usize),
    /// Not canonical CBOR of a [`Frame`].
    #[error("malformed frame")]
    Malformed(#[source] polykey_core::enc::EncError),
}

impl Frame {
    /// The frame with its length in front.
    ///
    /// # Panics
    /// When a frame is over [`MAX_FRAME`]: the maker splits contents at [`PART_BYTES`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = polykey_core::enc::encode(self);
        assert!(body.len() <= MAX_FRAME, "a frame over its limit was made");
        let mut out = Vec::with_capacity(4 + body.len());
        out.extend_from_slice(
            &u32::try_from(body.len())
                .expect("MAX_FRAME fits u32")
                .to_be_bytes(),
        );
        out.extend_from_slice(&body);
        out
    }

    /// Splits one frame off the front of `buffer`, or says that more bytes are needed (`None`).
    ///
    /// # Errors
    /// When the length is out of bounds (checked before anything is allocated) or the bytes are not a canonical frame.
    pub fn split(buffer: &mut Vec<u8>) -> Result<Option<Frame>, FrameError> {
        let Some(head) = buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*head) as usize;
        if len == 0 || len > MAX_FRAME {
            return Err(FrameError::Length(len));
        }
        if buffer.len() < 4 + len {
            return Ok(None);
        }
        let frame =
            polykey_core::enc::decode(&buffer[4..4 + len]).map_err(FrameError::Malformed)?;
        buffer.drain(..4 + len);
        Ok(Some(frame))
    }
}
