//! The peers that a person wrote down: rows of the store, read when the node starts and changed one at a time.

use super::address::{AddressError, PeerAddress};
use super::known::Known;
use super::{Peers, PeersError};
use crate::store::{Batch, Store, Table};
use minicbor::{Decode, Encode};
use polykey_core::enc;
use polykey_core::ids::NodeId;
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// Most nodes that a person may write down, and most addresses of one: more is a script gone wrong.
pub const MAX_CONFIGURED: usize = 1024;
/// Most addresses of one node.
pub const MAX_ADDRESSES: usize = 16;
/// Version of a row in [`Table::Peer`].
const ROW_VERSION: u8 = 1;

/// The rows of [`Table::Peer`], by node id.
#[derive(Encode, Decode)]
#[cbor(array)]
struct PeerRow {
    #[n(0)]
    version: u8,
    #[n(1)]
    addresses: Vec<String>,
}

impl Peers {
    /// Adds `address` to those where `node` is dialled; without one, the node is only known and dials this one.
    pub async fn add(&self, node: NodeId, address: Option<&str>) -> Result<(), PeersError> {
        if node == self.me {
            return Err(PeersError::Myself);
        }
        let address = address.map(parse).transpose()?;
        let _one = self.editing.lock().await;
        let mut addresses = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let before = known.configured(&node);
            if before.is_none() && known.configured_count() >= MAX_CONFIGURED {
                return Err(too_many("peers", MAX_CONFIGURED));
            }
            before.cloned().unwrap_or_default()
        };
        addresses.extend(address);
        if addresses.len() > MAX_ADDRESSES {
            return Err(too_many("addresses of one peer", MAX_ADDRESSES));
        }
        let row = PeerRow {
            version: ROW_VERSION,
            addresses: addresses.iter().map(ToString::to_string).collect(),
        };
        let mut batch = Batch::default();
        batch.put(Table::Peer, node.as_bytes(), enc::encode(&row));
        self.store.commit(batch).await?;
        self.change(|known| known.configure(node, addresses));
        Ok(())
    }

    /// Forgets a configured peer with all its addresses; whether there was one. Its connection stays if it is known for another reason.
    pub async fn remove(&self, node: &NodeId) -> Result<bool, PeersError> {
        let _one = self.editing.lock().await;
        let mut batch = Batch::default();
        batch.remove(Table::Peer, node.as_bytes());
        self.store.commit(batch).await?;
        let mut was = false;
        self.change(|known| was = known.forget(node));
        Ok(was)
    }
}

/// Those of the store.
pub(super) fn read(store: &Store) -> Result<Known, PeersError> {
    let mut known = Known::default();
    for row in store.scan(Table::Peer, &[]) {
        let (key, value) = row?;
        let node = NodeId::try_from(&key[..]).map_err(|_| PeersError::Row)?;
        let row: PeerRow = enc::decode(&value).map_err(|_| PeersError::Row)?;
        if row.version != ROW_VERSION {
            return Err(PeersError::Row);
        }
        let addresses: Result<BTreeSet<_>, _> = row.addresses.iter().map(|a| a.parse()).collect();
        known.configure(node, addresses.map_err(|_: AddressError| PeersError::Row)?);
    }
    Ok(known)
}

fn parse(text: &str) -> Result<PeerAddress, PeersError> {
    text.parse().map_err(|source| PeersError::Address {
        address: text.chars().take(80).collect(),
        source,
    })
}

fn too_many(what: &'static str, limit: usize) -> PeersError {
    PeersError::TooMany { what, limit }
}
