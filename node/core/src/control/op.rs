//! Operations as they are signed, stored and sent: `[1, vault, author, by, parents, body]`, a body being `[kind, fields…]`.

use crate::codec;
use crate::epoch::{self, EpochRecord};
use crate::ids::{CommitId, NodeId, OpId, VaultId};
use crate::labels;
pub use crate::link::MAX_LINK;
use crate::path;
use crate::sign::{Payload, Signed};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};

/// The most bytes of an operation: wraps for 256 members (about 190 bytes each) and their ids.
pub const MAX_OP: usize = 64 << 10;
/// The most parents, and the most operations that a revocation names as kept.
pub const MAX_PARENTS: usize = 16;
/// The most commits that a revocation names as kept: the heads of a vault, see [`crate::wire::MAX_HEADS`].
pub const MAX_CUT: usize = 256;
/// The most nodes that are members at one time: as many as one operation can wrap for.
pub const MAX_LIVE_NODES: usize = 256;
/// The most earlier epochs that one follows: more than two owners who rotate at one moment are not expected.
const MAX_BEFORE: usize = 16;
/// The most entries of one list of a caveat, as many as a `PolykeyVault` can have.
const MAX_CAVEAT: usize = 64;
/// The longest name of a Kubernetes object (DNS subdomain), and of a cluster's uid.
const MAX_NAME: usize = 253;

/// A signed operation. Its id is that of an [`OpId`]; Genesis' is the vault's id too.
pub type SignedOp = Signed<Op>;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Op {
    /// 1.
    #[n(0)]
    pub version: u8,
    /// The vault; absent in Genesis, whose id is the vault's.
    #[n(1)]
    #[cbor(with = "codec::nullable", has_nil)]
    pub vault: Option<VaultId>,
    /// Whose operation it is. With [`By::Recovery`]: the author of Genesis.
    #[n(2)]
    pub author: NodeId,
    /// Which key signed it.
    #[n(3)]
    pub by: By,
    /// The heads of the log that its author had, ascending; none in Genesis alone.
    #[n(4)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
    pub parents: Vec<OpId>,
    /// What it does.
    #[n(5)]
    pub act: Act,
}

impl Payload for Op {
    const CONTEXT: &'static str = labels::OP;
    const MAX: usize = MAX_OP;
}

/// Which key signs an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum By {
    /// The author's node key.
    #[n(0)]
    Node,
    /// The recovery key that Genesis declares.
    #[n(1)]
    Recovery,
}

/// What a member may do; a higher role may all that a lower one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Carries the ciphertext.
    #[n(1)]
    Mirror,
    /// Reads.
    #[n(2)]
    Reader,
    /// Writes.
    #[n(3)]
    Writer,
    /// Decides who is a member.
    #[n(4)]
    Owner,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Mirror => "mirror",
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Owner => "owner",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a cluster may hand to its pods: the owner's own limit, signed in the grant. An empty field does not limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Caveat {
    /// The uid of the cluster (of its namespace kube-system).
    #[n(0)]
    #[cbor(decode_with = "codec::text::<_, MAX_NAME>")]
    pub cluster: String,
    /// Namespaces.
    #[n(1)]
    #[cbor(decode_with = "codec::texts::<_, MAX_CAVEAT, MAX_NAME>")]
    pub namespaces: Vec<String>,
    /// Names of `ServiceAccount`s.
    #[n(2)]
    #[cbor(decode_with = "codec::texts::<_, MAX_CAVEAT, MAX_NAME>")]
    pub service_accounts: Vec<String>,
    /// Paths; one that ends in `/` is a directory.
    #[n(3)]
    #[cbor(decode_with = "codec::texts::<_, MAX_CAVEAT, { path::MAX_PATH }>")]
    pub paths: Vec<String>,
}

/// What a revocation removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Target {
    /// A node, with every grant to it.
    #[n(0)]
    Node(#[n(0)] NodeId),
    /// One grant.
    #[n(1)]
    Grant(#[n(0)] OpId),
}

/// The ten kinds of this version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Body {
    /// Begins a vault; its author is the first owner.
    #[n(0)]
    Genesis {
        /// Random, so that no two vaults have one id.
        #[n(0)]
        nonce: ByteArray<32>,
        /// How secrets are wrapped: 1 is HPKE with X25519, HKDF-SHA256 and ChaCha20-Poly1305.
        #[n(1)]
        suite: u8,
        /// Commitment to the shape key.
        #[n(2)]
        shape_commit: ByteArray<32>,
        /// Public half of the author's recovery key.
        #[n(3)]
        #[cbor(with = "codec::nullable", has_nil)]
        recovery: Option<NodeId>,
        /// The first epoch. Its wraps name a vault of 32 zero bytes: the vault's id is not known before this is hashed.
        #[n(4)]
        epoch: EpochRecord,
    },
    /// Makes a node a member; its id names the grant.
    #[n(1)]
    Grant {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// As what.
        #[n(1)]
        role: Role,
        /// How many other nodes of its gestalt it may bring in.
        #[n(2)]
        siblings: u8,
        /// Unix seconds after which nodes stop serving and accepting for it, by their own clocks.
        #[n(3)]
        #[cbor(with = "codec::nullable", has_nil)]
        expires: Option<u64>,
        /// What a cluster may hand on.
        #[n(4)]
        #[cbor(with = "codec::nullable", has_nil)]
        caveat: Option<Caveat>,
    },
    /// A member under a grant with siblings brings in another node of its gestalt.
    #[n(2)]
    Join {
        /// The grant.
        #[n(0)]
        grant: OpId,
        /// The other node.
        #[n(1)]
        node: NodeId,
        /// The claim, signed by both, that links the two.
        #[n(2)]
        #[cbor(
            encode_with = "minicbor::bytes::encode",
            decode_with = "codec::bytes::<_, MAX_LINK>"
        )]
        link: ByteVec,
    },
    /// Removes a member or one grant.
    #[n(3)]
    Revoke {
        /// What.
        #[n(0)]
        target: Target,
        /// Operations up to which the removed node's own stay, ascending.
        #[n(1)]
        #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
        upto: Vec<OpId>,
        /// Commits up to which the removed node's own stay, ascending.
        #[n(2)]
        #[cbor(decode_with = "codec::list::<_, _, MAX_CUT>")]
        cut: Vec<CommitId>,
        /// The new epoch; absent when the target could only mirror.
        #[n(3)]
        #[cbor(with = "codec::nullable", has_nil)]
        epoch: Option<EpochRecord>,
    },
    /// The author's node id becomes another.
    #[n(4)]
    Replace {
        /// The new id.
        #[n(0)]
        new: NodeId,
        /// The new key's signature.
        #[n(1)]
        proof: ByteArray<64>,
        /// As in a revocation.
        #[n(2)]
        #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
        upto: Vec<OpId>,
        /// As in a revocation.
        #[n(3)]
        #[cbor(decode_with = "codec::list::<_, _, MAX_CUT>")]
        cut: Vec<CommitId>,
        /// As in a revocation.
        #[n(4)]
        #[cbor(with = "codec::nullable", has_nil)]
        epoch: Option<EpochRecord>,
    },
    /// A new epoch.
    #[n(5)]
    Rotate {
        /// The epoch.
        #[n(0)]
        epoch: EpochRecord,
    },
    /// Lets everyone drop the trees of proper ancestors of a commit.
    #[n(6)]
    Prune {
        /// The commit.
        #[n(0)]
        keep: CommitId,
    },
    /// Turns a version of the formats on.
    #[n(7)]
    Format {
        /// The lowest version that members must speak.
        #[n(0)]
        min: u32,
    },
    /// A second genesis by the recovery key.
    #[n(8)]
    Reset {
        /// Operations whose state is carried over, ascending.
        #[n(0)]
        #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
        upto: Vec<OpId>,
        /// Commits up to which replaced ids' own stay, ascending.
        #[n(1)]
        #[cbor(decode_with = "codec::list::<_, _, MAX_CUT>")]
        cut: Vec<CommitId>,
        /// The new id of the author of Genesis.
        #[n(2)]
        new: NodeId,
        /// The new key's signature.
        #[n(3)]
        proof: ByteArray<64>,
        /// The new epoch.
        #[n(4)]
        epoch: EpochRecord,
    },
    /// The recovery key gives itself up for good.
    #[n(9)]
    Resign {},
}

/// What an operation does: of a kind that this version knows, or of one that it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// One of the ten.
    Known(Box<Body>),
    /// A later kind.
    Newer(NewerBody),
}

/// The bytes of a body of a later kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewerBody {
    /// Its number.
    pub kind: u32,
    bytes: Vec<u8>,
}

/// The first number that is no kind of this version.
const FIRST_NEWER: u32 = 10;

impl<C> Encode<C> for Act {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Act::Known(body) => body.encode(e, c),
            Act::Newer(newer) => e
                .writer_mut()
                .write_all(&newer.bytes)
                .map_err(minicbor::encode::Error::write),
        }
    }
}

impl<'b, C> Decode<'b, C> for Act {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        let kind = {
            let mut probe = d.probe();
            probe.array()?;
            probe.u32()?
        };
        if kind < FIRST_NEWER {
            return Body::decode(d, c).map(|body| Act::Known(Box::new(body)));
        }
        let start = d.position();
        d.skip()?;
        let bytes = d.input()[start..d.position()].to_vec();
        Ok(Act::Newer(NewerBody { kind, bytes }))
    }
}

/// Why an operation is none, whoever signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// A version that this program does not know.
    #[error("an operation of version {0}")]
    Version(u8),
    /// A list that is a set is not in ascending order.
    #[error("an operation whose {0} are not in ascending order")]
    Order(&'static str),
    /// Genesis with a vault or parents, or another one without.
    #[error("an operation that stands in no log")]
    Place,
    /// A kind that the other key signs.
    #[error("an operation signed by the wrong kind of key")]
    By,
    /// A field over its bound or of no known value.
    #[error("an operation with a malformed {0}")]
    Field(&'static str),
}

impl Op {
    /// Wraps and epochs of this operation name this vault: its own, or 32 zero bytes in Genesis, which is hashed after them.
    #[must_use]
    pub fn wrap_vault(&self) -> VaultId {
        self.vault.unwrap_or(VaultId::from([0; 32]))
    }

    /// What it does, if this version knows the kind.
    #[must_use]
    pub fn body(&self) -> Option<&Body> {
        match &self.act {
            Act::Known(body) => Some(body),
            Act::Newer(_) => None,
        }
    }

    /// The epoch that it makes.
    #[must_use]
    pub fn epoch(&self) -> Option<&EpochRecord> {
        match self.body()? {
            Body::Genesis { epoch, .. } | Body::Rotate { epoch } | Body::Reset { epoch, .. } => {
                Some(epoch)
            }
            Body::Revoke { epoch, .. } | Body::Replace { epoch, .. } => epoch.as_ref(),
            Body::Grant { .. }
            | Body::Join { .. }
            | Body::Prune { .. }
            | Body::Format { .. }
            | Body::Resign {} => None,
        }
    }

    /// Checks all that can be checked of an operation alone.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), OpError> {
        if self.version != 1 {
            return Err(OpError::Version(self.version));
        }
        if !codec::ascending(&self.parents) {
            return Err(OpError::Order("parents"));
        }
        let begins = matches!(self.body(), Some(Body::Genesis { .. }));
        if begins != self.vault.is_none() || begins != self.parents.is_empty() {
            return Err(OpError::Place);
        }
        if let Some(body) = self.body() {
            let recovers = matches!(body, Body::Reset { .. } | Body::Resign {});
            if recovers != (self.by == By::Recovery) {
                return Err(OpError::By);
            }
            check_body(body)?;
        }
        self.epoch().map_or(Ok(()), check_epoch)
    }
}

fn check_body(body: &Body) -> Result<(), OpError> {
    match body {
        Body::Genesis { suite, epoch, .. } => {
            if *suite != 1 {
                return Err(OpError::Field("suite"));
            }
            if !epoch.before.is_empty() {
                return Err(OpError::Field("epoch"));
            }
        }
        Body::Grant { caveat, .. } => {
            if let Some(caveat) = caveat
                && caveat.paths.iter().any(|p| path::check_rule(p).is_err())
            {
                return Err(OpError::Field("caveat"));
            }
        }
        Body::Revoke { upto, cut, .. }
        | Body::Replace { upto, cut, .. }
        | Body::Reset { upto, cut, .. } => {
            if !codec::ascending(upto) {
                return Err(OpError::Order("kept operations"));
            }
            if !codec::ascending(cut) {
                return Err(OpError::Order("kept commits"));
            }
        }
        Body::Join { .. }
        | Body::Rotate { .. }
        | Body::Prune { .. }
        | Body::Format { .. }
        | Body::Resign {} => {}
    }
    Ok(())
}

fn check_epoch(record: &EpochRecord) -> Result<(), OpError> {
    let before: Vec<_> = record.before.iter().map(|b| b.epoch).collect();
    let to: Vec<_> = record.wraps.iter().map(|w| w.to).collect();
    if before.len() > MAX_BEFORE || to.len() > MAX_LIVE_NODES {
        return Err(OpError::Field("epoch"));
    }
    if record
        .wraps
        .iter()
        .any(|w| w.sealed.len() > epoch::MAX_WRAP)
    {
        return Err(OpError::Field("wrap"));
    }
    if !codec::ascending(&before) {
        return Err(OpError::Order("earlier epochs"));
    }
    if !codec::ascending(&to) {
        return Err(OpError::Order("wraps"));
    }
    Ok(())
}
