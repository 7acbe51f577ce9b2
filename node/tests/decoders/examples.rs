//! Real inputs of every decoder, the same each time: what the committed seeds are made of.

mod local;
mod sealed;
mod signed;

use polykey_core::epoch::EpochSecret;
use polykey_core::ids::{Address, NodeId, VaultId};
use polykey_core::keys::{Key32, RootKey};
use polykey_core::seal::{self, Kind};
use zeroize::Zeroizing;

/// Decoder, name, bytes.
pub type Example = (&'static str, &'static str, Vec<u8>);

/// All of them.
pub fn all() -> Vec<Example> {
    [
        signed::operations(),
        signed::logs(),
        signed::commits_and_wraps(),
        signed::beats(),
        signed::messages(),
        sealed::sealed(),
        sealed::trees(),
        sealed::identities(),
        sealed::audits(),
        local::requests(),
        local::answers(),
        local::watches(),
        local::texts(),
        local::tokens(),
    ]
    .concat()
}

fn key(n: u8) -> Key32 {
    Zeroizing::new([n; 32])
}

fn person(n: u8) -> RootKey {
    RootKey::from_seed(&key(n))
}

fn node(n: u8) -> NodeId {
    person(n).node_id()
}

/// Whose first byte says the place of what is meant among what is there, as the decoders of logs read them.
fn id<T: From<[u8; 32]>>(n: u8) -> T {
    T::from([n; 32])
}

fn vault() -> VaultId {
    id(0x22)
}

/// As a decoder takes several things in one input.
fn pieces(all: &[Vec<u8>]) -> Vec<u8> {
    let piece = |p: &Vec<u8>| {
        [
            &u16::try_from(p.len()).expect("a short piece").to_be_bytes()[..],
            p,
        ]
        .concat()
    };
    all.iter().flat_map(piece).collect()
}

fn blob(body: &[u8]) -> (Address, Vec<u8>) {
    seal::seal(
        &EpochSecret::new(key(0x11)).object_keys(),
        &vault(),
        Kind::Blob,
        0,
        &[],
        body,
    )
    .expect("a blob")
}
