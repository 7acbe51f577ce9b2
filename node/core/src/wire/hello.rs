//! Who a node is and since when: the first message both ways, and the one that tells a node that another process has its identity.
//!
//! A start is signed, so that whoever heard it can show it to others: a node believes that it has a double only when it is shown its own signature over a
//! start that is not its own. What a peer says beyond that may make a node ask, never stop.

use super::{MAX_VERSIONS, Message, VERSION};
use crate::codec;
use crate::ids::NodeId;
use crate::keys::RootKey;
use crate::labels;
use crate::sign::{Payload, SIGNATURE, SignError, Signed};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// The most bytes of a start without its signature: an array of four, a byte, 32 and 16 bytes with their lengths, and a number of nine.
const MAX_START: usize = 64;

/// One start of a process on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Start {
    /// 1.
    #[n(0)]
    pub version: u8,
    /// Whose.
    #[n(1)]
    pub node: NodeId,
    /// Random for each start of a process.
    #[n(2)]
    pub instance: ByteArray<16>,
    /// Counts the starts of a store: a lower one than was seen means a restored store.
    #[n(3)]
    pub boot: u64,
}

impl Payload for Start {
    const CONTEXT: &'static str = labels::START;
    const MAX: usize = MAX_START;
}

/// A start as its node tells it.
pub type SignedStart = Signed<Start>;

impl SignedStart {
    /// The start of `key`'s node.
    #[must_use]
    pub fn of(key: &RootKey, instance: [u8; 16], boot: u64) -> SignedStart {
        let start = Start {
            version: 1,
            node: key.node_id(),
            instance: instance.into(),
            boot,
        };
        SignedStart::sign(start, key)
    }

    /// Reads a start that `node` signed.
    ///
    /// # Errors
    /// When it is another's, or none.
    pub fn read(bytes: &[u8], node: &NodeId) -> Result<SignedStart, SignError> {
        let start = SignedStart::parse(bytes)?;
        start.verify(node)?;
        let said = start.payload();
        if said.version == 1 && said.node == *node {
            Ok(start)
        } else {
            Err(SignError::Signature)
        }
    }
}

/// What a node remembers of another: its highest boot, and the process that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Seen {
    /// The process.
    #[n(0)]
    pub instance: ByteArray<16>,
    /// Its boot.
    #[n(1)]
    pub boot: u64,
}

impl Seen {
    /// Takes note of a start; whether it is the highest now. It never goes back: of two starts with one boot the first stays.
    pub fn note(remembered: &mut Option<Seen>, start: &Start) -> bool {
        let higher = remembered.is_none_or(|seen| start.boot > seen.boot);
        if higher {
            *remembered = Some(Seen {
                instance: start.instance,
                boot: start.boot,
            });
        }
        higher
    }

    /// Whether what was seen of this store is gone from it: as high a boot, by another process. A store counts its starts before anything else, so it
    /// was restored from a copy, or there are two of it.
    #[must_use]
    pub fn is_ahead_of(&self, mine: &Start) -> bool {
        self.boot >= mine.boot && self.instance != mine.instance
    }
}

/// The first message of a connection, both ways.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Hello {
    /// The sender's signed [`Start`].
    #[n(0)]
    #[cbor(
        encode_with = "minicbor::bytes::encode",
        decode_with = "codec::bytes::<_, { MAX_START + SIGNATURE }>"
    )]
    pub start: ByteVec,
    /// Versions of these messages that the sender speaks, ascending.
    #[n(1)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_VERSIONS>")]
    pub versions: Vec<u16>,
    /// What the sender remembers of the receiver.
    #[n(2)]
    #[cbor(with = "codec::nullable", has_nil)]
    pub seen: Option<Seen>,
}

impl Hello {
    /// What a process with this start says to a node of which it remembers `seen`.
    #[must_use]
    pub fn new(start: &SignedStart, seen: Option<Seen>) -> Hello {
        Hello {
            start: start.bytes().to_vec().into(),
            versions: vec![VERSION],
            seen,
        }
    }
}

impl Message for Hello {
    const NAME: &'static str = "Hello";

    fn sets_ascend(&self) -> bool {
        codec::ascending(&self.versions)
    }
}

/// Tells a node that another process with its identity is connected as well.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Cloned {
    /// The signed [`Start`] of the other process.
    #[n(0)]
    #[cbor(
        encode_with = "minicbor::bytes::encode",
        decode_with = "codec::bytes::<_, { MAX_START + SIGNATURE }>"
    )]
    pub start: ByteVec,
    /// The receiver's connection is the older one: it decides between two with one boot.
    #[n(1)]
    pub older: bool,
}

impl Message for Cloned {
    const NAME: &'static str = "Cloned";
}

/// What a node does that learns of another process with its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Double {
    /// The other has the lower boot: this one goes on, and says so.
    Stays,
    /// The other has the higher boot: this one writes nothing more.
    Yields,
}

/// Which of two processes with one identity goes on writing: the one with the higher boot, of two with one boot the one whose connection is older.
/// `None` when `other` is this process itself.
#[must_use]
pub fn double(mine: &Start, other: &Start, older: bool) -> Option<Double> {
    if mine.instance == other.instance {
        return None;
    }
    let stays = mine.boot > other.boot || (mine.boot == other.boot && older);
    Some(if stays { Double::Stays } else { Double::Yields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start(boot: u64, instance: u8) -> Start {
        *SignedStart::of(&RootKey::from_seed(&[1; 32]), [instance; 16], boot).payload()
    }

    #[test]
    fn a_start_is_believed_of_the_node_that_signed_it_alone() {
        let key = RootKey::from_seed(&[1; 32]);
        let (node, other) = (key.node_id(), RootKey::from_seed(&[2; 32]).node_id());
        let signed = SignedStart::of(&key, [7; 16], u64::MAX);
        assert!(signed.bytes().len() <= MAX_START + SIGNATURE);
        assert_eq!(SignedStart::read(signed.bytes(), &node).unwrap(), signed);
        assert!(SignedStart::read(signed.bytes(), &other).is_err());
        let of_another = Start {
            node: other,
            ..*signed.payload()
        };
        let claimed = SignedStart::sign(of_another, &key);
        assert!(SignedStart::read(claimed.bytes(), &node).is_err());
        assert!(SignedStart::read(claimed.bytes(), &other).is_err());
    }

    proptest! {
        #[test]
        fn what_is_remembered_of_a_node_never_goes_back(boots in proptest::collection::vec((0_u64..9, any::<u8>()), 1..20)) {
            let mut seen = None;
            let mut highest = None;
            for (boot, instance) in boots {
                let before = seen;
                let higher = Seen::note(&mut seen, &start(boot, instance));
                prop_assert_eq!(higher, highest.is_none_or(|h| boot > h));
                prop_assert!(higher || seen == before);
                highest = highest.max(Some(boot));
                prop_assert_eq!(seen.map(|s| s.boot), highest);
            }
        }

        #[test]
        fn of_two_processes_with_one_identity_exactly_one_stays(boots in (0_u64..4, 0_u64..4), older: bool) {
            let (one, other) = (start(boots.0, 1), start(boots.1, 2));
            let (a, b) = (double(&one, &other, older), double(&other, &one, !older));
            prop_assert!(matches!((a, b), (Some(Double::Stays), Some(Double::Yields)) | (Some(Double::Yields), Some(Double::Stays))));
            let higher = if boots.0 == boots.1 { older } else { boots.0 > boots.1 };
            prop_assert_eq!(a == Some(Double::Stays), higher);
            prop_assert_eq!(double(&one, &one, older), None);
        }

        #[test]
        fn a_store_is_behind_what_was_seen_of_it_only_by_another_process(seen in (0_u64..5, 0_u8..3), mine in (0_u64..5, 0_u8..3)) {
            let seen_of = Seen { instance: [seen.1; 16].into(), boot: seen.0 };
            prop_assert_eq!(seen_of.is_ahead_of(&start(mine.0, mine.1)), seen.0 >= mine.0 && seen.1 != mine.1);
        }
    }
}
