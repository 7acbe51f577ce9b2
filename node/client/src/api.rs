//! The JSON of the local API: requests and answers of the Unix socket (`/v1/status`, vaults, secrets, grants, peers), and the two read-only lists that the
//! operator gets over TLS (`/v1/vaults`, `/v1/consumers`).
//!
//! Fields are only ever added. Secret values are never in JSON here: they travel as the raw body of `GET` and `PUT …/secret` and as CBOR in [`Edits`]. Every type that
//! holds a secret stands in this file, where it can be seen that none is printable; the modules below hold none.

mod history;
mod node;
mod secret;
mod vault;
mod workload;

pub use history::{
    Diff, Differs, Log, PathChange, PruneReply, PruneRequest, RestoreRequest, Version,
};
pub use node::{KeyReply, OtherProcess, Peer, PeerRequest, Peers, Standing, Status};
pub use secret::{Conflict, ConflictValue, Conflicts, EditReply, Entries, Entry};
pub use vault::{
    Caveat, Double, GrantReply, GrantRequest, Member, Members, RecoveryReply, RevokeReply, Vault,
    VaultName, Vaults,
};
pub use workload::{Ack, Consumer, Consumers, RuleState};

use minicbor::{Decode, Encode};
use polykey_core::ids::CommitId;
use zeroize::Zeroizing;

/// Header of `GET …/secret` that names the version whose content the body is.
pub const VERSION_HEADER: &str = "polykey-version";

/// Header of `GET …/secret`, `true` when other values stand beside this one, the newest.
pub const CONFLICT_HEADER: &str = "polykey-conflict";

/// The largest body of a change ([`Edits`]) in bytes: 64 values of 64 KiB, a safe bound for one commit by hand.
pub const MAX_EDITS_BODY: usize = 5 << 20;

/// The largest value in bytes, 64 MiB: the body of `PUT …/secret`, and of `GET …/secret`.
pub const MAX_VALUE: u64 = polykey_core::tree::MAX_FILE;

/// `POST /v1/vaults/{vault}/edits`, canonical CBOR: one commit. Not printable: it holds values.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Edits {
    /// Refuse with `Conflict` unless the vault is at this version.
    #[n(0)]
    pub expect: Option<CommitId>,
    /// Applied in order as one commit.
    #[n(1)]
    pub edits: Vec<Edit>,
}

/// One change of a path.
#[derive(Encode, Decode)]
pub enum Edit {
    /// Write a value.
    #[n(0)]
    Put(#[n(0)] Put),
    /// Remove one secret, or everything below a path that ends in `/`.
    #[n(1)]
    Remove(#[n(0)] String),
}

/// A value to write.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Put {
    /// Where.
    #[n(0)]
    pub path: String,
    /// File mode in pods.
    #[n(1)]
    pub mode: u32,
    /// What.
    #[n(2)]
    pub value: Secret,
}

/// `POST /v1/vaults/{vault}/recovery`, canonical CBOR. Not printable: it holds the words.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Recovery {
    /// The 24 words of who made the vault, as text.
    #[n(0)]
    pub words: Secret,
    /// Up to when the vault is believed; all of it when absent.
    #[n(1)]
    pub before: Option<Before>,
    /// Give the words up instead.
    #[n(2)]
    pub resign: bool,
    /// What opens the node's identity: needed where the node has the very key that is to lose the vault, and so gets another.
    #[n(3)]
    pub unlock: Option<Unlock>,
}

/// A moment in the life of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Before {
    /// What a version builds on, but not it.
    #[n(0)]
    Version(#[n(0)] CommitId),
    /// Versions dated before, in unix milliseconds.
    #[n(1)]
    Time(#[n(0)] u64),
}

/// `POST /v1/key`, canonical CBOR: gives the node another key. It starts again by itself then. Not printable.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct KeyRequest {
    /// What opens the identity, before and after.
    #[n(0)]
    pub unlock: Unlock,
}

/// What opens the identity of a node. Not printable.
#[derive(Encode, Decode)]
pub enum Unlock {
    /// The password, as text.
    #[n(0)]
    Password(#[n(0)] Secret),
    /// The content of the key file.
    #[n(1)]
    KeyFile(#[n(0)] Secret),
}

/// Bytes that are wiped when dropped and are never shown.
pub struct Secret(pub Zeroizing<Vec<u8>>);

impl<C> Encode<C> for Secret {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Secret(Zeroizing::new(d.bytes()?.to_vec())))
    }
}
