//! The audit: entries chained by their hashes, as they are encoded, sealed in the log's files and signed. Who did what, what came of it; never a value, and a path only sealed.
//!
//! ```text
//! entry = CBOR [1, seq, time ms, kind, actor, subject, outcome, prev]      h = id("polykey/1 audit", entry)      prev = h of the entry before, zeros at first
//! frame = u32 length ‖ entry sealed as a row of table 0xA0 at segment u64 ‖ seq u64
//! head  = Ed25519 signature of the newest h
//! ```
//!
//! An entry changed, removed or put elsewhere breaks the chain after it. Cutting off the newest entries does not; the signed heads that left the machine show that.

use crate::codec;
use crate::enc::{self, EncError};
use crate::ids::{NodeId, VaultId};
use crate::keys::RootKey;
use crate::row::{self, RowKey};
use crate::sign::{self, SIGNATURE, SignError};
use crate::{labels, path};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

/// The most bytes of an actor: a namespace, a service account and a pod by their longest names, and two separators, are 571.
pub const MAX_ACTOR: usize = 640;
/// The most bytes of what a subject says beside its vault and path: a node id, a version, a rule's name.
pub const MAX_DETAIL: usize = 512;
/// The most bytes of a refusal's reason, which is one of a fixed set of names.
pub const MAX_REASON: usize = 64;
/// The most bytes of an entry: the texts, a sealed path of 512 bytes, and 300 for ids, numbers and lengths.
pub const MAX_ENTRY: usize = MAX_ACTOR + MAX_DETAIL + MAX_REASON + MAX_SEALED_PATH + 300;
/// Tables of rows that stand in no store: frames of the log, and paths inside entries.
const FRAME_TABLE: u8 = 0xA0;
const PATH_TABLE: u8 = 0xA1;
const MAX_SEALED_PATH: usize = path::MAX_PATH + row::OVERHEAD;
const VERSION: u8 = 1;

/// Why an entry, a frame or a chain is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A frame whose length no entry has.
    #[error("an audit frame of {0} bytes")]
    Length(usize),
    /// Fewer bytes than the frame says: the last write was cut off.
    #[error("the last audit frame is cut off")]
    Cut,
    /// Not sealed by this store at this place, or changed since.
    #[error("audit entry {0} does not open")]
    Sealed(u64),
    /// Not an entry of this version.
    #[error("malformed audit entry")]
    Entry(#[source] EncError),
    /// An entry of a later version.
    #[error("an audit entry of version {0}, which this program does not know")]
    Version(u8),
    /// Another number than the next one: entries are missing or repeated.
    #[error("audit entry {found} where {expected} belongs")]
    Order {
        /// The number that comes next.
        expected: u64,
        /// The entry's number.
        found: u64,
    },
    /// The entry before is not the one that was there.
    #[error("audit entry {0} does not follow from the one before it: the log was changed")]
    Chain(u64),
    /// The path in an entry was sealed by another store, or changed.
    #[error("the path in an audit entry does not open")]
    Path,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// A store was opened with its password or key file, or somebody tried to.
    #[n(1)]
    Unlock,
    /// A member was added to a vault.
    #[n(2)]
    Grant,
    /// A member was removed from a vault.
    #[n(3)]
    Revoke,
    /// A vault's secrets were changed by a version.
    #[n(4)]
    Edit,
    /// A workload got a version for the first time, or was refused.
    #[n(5)]
    Read,
    /// A node joined under a grant of its gestalt.
    #[n(6)]
    Join,
    /// The access rules in force changed.
    #[n(7)]
    Access,
    /// A peer was configured or removed.
    #[n(8)]
    Peer,
    /// The store was restored, repaired or found to be cloned.
    #[n(9)]
    Store,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// It was done.
    #[n(0)]
    Done,
    /// It was refused.
    #[n(1)]
    Refused {
        /// The name of the reason.
        #[n(0)]
        #[cbor(decode_with = "codec::text::<_, MAX_REASON>")]
        reason: String,
        /// How many like it this entry stands for: refusals are written at a limited rate.
        #[n(1)]
        count: u64,
    },
}

/// What it was done to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Subject {
    /// The vault, if there is one.
    #[n(0)]
    pub vault: Option<VaultId>,
    /// The secret, if it is one.
    #[n(1)]
    pub path: Option<SealedPath>,
    /// A node, a version, a rule: whatever else names it, in its text form.
    #[n(2)]
    #[cbor(decode_with = "codec::text::<_, MAX_DETAIL>")]
    pub detail: String,
}

/// A path that only this store can read, with an id to find its entries by.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SealedPath {
    /// Keyed hash of vault and path: equal for equal paths of this store, and of no use to anyone without its key.
    #[n(0)]
    pub id: ByteArray<16>,
    /// The path as a sealed row.
    #[n(1)]
    #[cbor(decode_with = "codec::bytes::<_, MAX_SEALED_PATH>")]
    sealed: ByteVec,
}

impl SealedPath {
    /// Seals `path`, which the caller has checked. `nonce` is 24 fresh random bytes.
    #[must_use]
    pub fn new(rows: &RowKey, vault: &VaultId, path: &str, nonce: [u8; 24]) -> SealedPath {
        let id = path_id(rows, vault, path);
        let sealed = rows.seal(PATH_TABLE, &id, path.as_bytes(), nonce);
        SealedPath {
            id: id.into(),
            sealed: sealed.into(),
        }
    }

    /// The path.
    ///
    /// # Errors
    /// `Path` when another store sealed it.
    pub fn open(&self, rows: &RowKey) -> Result<Zeroizing<String>, AuditError> {
        let bytes = rows
            .open(PATH_TABLE, &*self.id, &self.sealed)
            .map_err(|_| AuditError::Path)?;
        let path = std::str::from_utf8(&bytes).map_err(|_| AuditError::Path)?;
        Ok(Zeroizing::new(path.to_owned()))
    }
}

/// The id of a path of a vault in this store's audit.
#[must_use]
pub fn path_id(rows: &RowKey, vault: &VaultId, path: &str) -> [u8; 16] {
    let named = [
        labels::AUDIT_PATH.as_bytes(),
        &[0],
        vault.as_bytes(),
        path.as_bytes(),
    ]
    .concat();
    let mut id = [0; 16];
    id.copy_from_slice(&rows.keyed_hash(&Zeroizing::new(named))[..16]);
    id
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    #[n(0)]
    version: u8,
    /// Counted from 0 without gaps.
    #[n(1)]
    pub seq: u64,
    /// Unix time by this node's clock, in milliseconds.
    #[n(2)]
    pub time_ms: u64,
    /// What happened.
    #[n(3)]
    pub kind: Kind,
    /// Who did it: a node id, `namespace/serviceaccount/pod`, or `local` for the owner of the socket.
    #[n(4)]
    #[cbor(decode_with = "codec::text::<_, MAX_ACTOR>")]
    pub actor: String,
    /// What it was done to.
    #[n(5)]
    pub subject: Subject,
    /// What came of it.
    #[n(6)]
    pub outcome: Outcome,
    /// Hash of the entry before.
    #[n(7)]
    pub prev: ByteArray<32>,
}

impl Entry {
    /// The hash that the next entry names and a head signs.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sign::id(labels::AUDIT, &enc::encode(self))
    }

    /// The frame of this entry in the file `segment`. `nonce` is 24 fresh random bytes.
    ///
    /// # Panics
    /// Never: an entry is far below 4 GiB.
    #[must_use]
    pub fn seal(&self, rows: &RowKey, segment: u64, nonce: [u8; 24]) -> Vec<u8> {
        let sealed = rows.seal(
            FRAME_TABLE,
            &place(segment, self.seq),
            &enc::encode(self),
            nonce,
        );
        let length = u32::try_from(sealed.len()).expect("an entry is small");
        [&length.to_be_bytes()[..], &sealed].concat()
    }

    /// Opens the frame that [`split_frame`] found at number `seq` of the file `segment`.
    ///
    /// # Errors
    /// When it is not the entry that was sealed there.
    pub fn open(rows: &RowKey, segment: u64, seq: u64, sealed: &[u8]) -> Result<Entry, AuditError> {
        let opened = rows.open(FRAME_TABLE, &place(segment, seq), sealed);
        let plain = opened.map_err(|_| AuditError::Sealed(seq))?;
        let entry: Entry = enc::decode(&plain).map_err(AuditError::Entry)?;
        if entry.version == VERSION {
            Ok(entry)
        } else {
            Err(AuditError::Version(entry.version))
        }
    }
}

fn place(segment: u64, seq: u64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&segment.to_be_bytes());
    place[8..].copy_from_slice(&seq.to_be_bytes());
    place
}

/// The sealed entry of a frame, and what follows the frame.
pub type Split<'a> = (&'a [u8], &'a [u8]);

/// Takes the first frame off the bytes of a file: its sealed entry and what follows it. `None` at the end.
///
/// # Errors
/// `Cut` when the last write did not finish, `Length` when this is no frame.
pub fn split_frame(bytes: &[u8]) -> Result<Option<Split<'_>>, AuditError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(AuditError::Cut)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length <= row::OVERHEAD || length > MAX_ENTRY + row::OVERHEAD {
        return Err(AuditError::Length(length));
    }
    rest.split_at_checked(length)
        .map(Some)
        .ok_or(AuditError::Cut)
}

/// Where a chain stands: what its next entry must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Chain {
    /// The number of the next entry.
    pub next: u64,
    /// The hash of the newest one; zeros before the first.
    pub head: [u8; 32],
}

impl Chain {
    /// The next entry. It counts once [`Chain::take`] has it. Texts that are too long are cut.
    #[must_use]
    pub fn entry(
        &self,
        time_ms: u64,
        kind: Kind,
        actor: &str,
        mut subject: Subject,
        mut outcome: Outcome,
    ) -> Entry {
        subject.detail = cut(&subject.detail, MAX_DETAIL);
        if let Outcome::Refused { reason, .. } = &mut outcome {
            *reason = cut(reason, MAX_REASON);
        }
        Entry {
            version: VERSION,
            seq: self.next,
            time_ms,
            kind,
            actor: cut(actor, MAX_ACTOR),
            subject,
            outcome,
            prev: self.head.into(),
        }
    }

    /// Moves past `entry` if it is the next one.
    ///
    /// # Errors
    /// `Order` or `Chain` when it is not; the chain stays where it was.
    pub fn take(&mut self, entry: &Entry) -> Result<(), AuditError> {
        if entry.seq != self.next {
            return Err(AuditError::Order {
                expected: self.next,
                found: entry.seq,
            });
        }
        if *entry.prev != self.head {
            return Err(AuditError::Chain(entry.seq));
        }
        *self = Chain {
            next: entry.seq.saturating_add(1),
            head: entry.hash(),
        };
        Ok(())
    }

    /// Signs the newest hash.
    #[must_use]
    pub fn sign(&self, key: &RootKey) -> [u8; SIGNATURE] {
        key.sign(labels::AUDIT, &self.head)
    }

    /// Checks a signature of the newest hash.
    ///
    /// # Errors
    /// When `by` did not sign it.
    pub fn verify(&self, signature: &[u8; SIGNATURE], by: &NodeId) -> Result<(), SignError> {
        sign::verify(labels::AUDIT, &self.head, signature, by)
    }
}

/// The beginning of `text`, at most `max` bytes of whole characters.
fn cut(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> RowKey {
        RowKey::new(Zeroizing::new([1; 32]))
    }

    fn subject(detail: &str) -> Subject {
        let vault = VaultId::from([0x22; 32]);
        let path = SealedPath::new(&rows(), &vault, "db/password", [3; 24]);
        Subject {
            vault: Some(vault),
            path: Some(path),
            detail: detail.to_owned(),
        }
    }

    fn refused(count: u64) -> Outcome {
        Outcome::Refused {
            reason: "NoRule".to_owned(),
            count,
        }
    }

    /// Frames of `n` entries in segment 7, and the chain after them.
    fn log(n: u64) -> (Vec<Vec<u8>>, Chain) {
        let mut chain = Chain::default();
        let frames = (0..n).map(|at| {
            let outcome = if at % 2 == 0 {
                Outcome::Done
            } else {
                refused(at)
            };
            let entry = chain.entry(
                1_000 + at,
                Kind::Read,
                "shop/web/web-1",
                subject("web"),
                outcome,
            );
            chain.take(&entry).unwrap();
            entry.seal(&rows(), 7, [u8::try_from(at).unwrap(); 24])
        });
        let frames = frames.collect();
        (frames, chain)
    }

    /// Reads a segment from its first entry as an auditor would.
    fn read(bytes: &[u8]) -> Result<Chain, AuditError> {
        let (mut chain, mut rest) = (Chain::default(), bytes);
        while let Some((sealed, after)) = split_frame(rest)? {
            chain.take(&Entry::open(&rows(), 7, chain.next, sealed)?)?;
            rest = after;
        }
        Ok(chain)
    }

    #[test]
    fn what_was_written_is_read_back_and_its_head_verifies() {
        let (frames, chain) = log(5);
        assert_eq!(read(&frames.concat()).unwrap(), chain);
        let key = RootKey::from_seed(&[9; 32]);
        let signature = chain.sign(&key);
        chain.verify(&signature, &key.node_id()).unwrap();
        assert!(
            log(4).1.verify(&signature, &key.node_id()).is_err(),
            "a head of another log"
        );
    }

    #[test]
    fn a_path_is_readable_to_its_own_store_only() {
        let sealed = subject("").path.unwrap();
        assert_eq!(*sealed.open(&rows()).unwrap(), "db/password");
        let other = RowKey::new(Zeroizing::new([2; 32]));
        assert!(matches!(sealed.open(&other), Err(AuditError::Path)));
        assert_ne!(
            path_id(&other, &[0x22; 32].into(), "db/password"),
            *sealed.id
        );
        assert_ne!(
            path_id(&rows(), &[0x23; 32].into(), "db/password"),
            *sealed.id
        );
        let encoded = enc::encode(&subject("web"));
        assert!(
            !encoded.windows(4).any(|w| w == b"db/p"),
            "the name is not in an exported entry"
        );
    }

    #[test]
    fn a_store_that_reseals_a_changed_entry_still_breaks_the_chain() {
        let (mut frames, _) = log(3);
        let mut first = Entry::open(&rows(), 7, 0, &frames[0][4..]).unwrap();
        first.outcome = refused(1);
        frames[0] = first.seal(&rows(), 7, [8; 24]);
        assert!(matches!(read(&frames.concat()), Err(AuditError::Chain(1))));
    }

    #[test]
    fn an_entry_has_the_next_number_and_a_refused_one_moves_nothing() {
        let (_, chain) = log(3);
        for (seq, ok) in [(2, false), (3, true), (4, false)] {
            let mut entry = chain.entry(0, Kind::Edit, "local", subject(""), Outcome::Done);
            entry.seq = seq;
            let mut after = chain;
            let taken = after.take(&entry);
            assert_eq!(taken.is_ok(), ok, "{seq}");
            assert_eq!(after == chain, !ok, "{seq}");
            assert!(
                ok || matches!(taken, Err(AuditError::Order { expected: 3, found }) if found == seq)
            );
        }
    }

    #[test]
    fn the_longest_entry_fits_its_frame_and_texts_are_cut_to_fit() {
        let long = "ü".repeat(600);
        let path = SealedPath::new(
            &rows(),
            &[0x22; 32].into(),
            &"p".repeat(path::MAX_PATH),
            [3; 24],
        );
        let subject = Subject {
            path: Some(path),
            ..subject(&long)
        };
        let outcome = Outcome::Refused {
            reason: long.clone(),
            count: u64::MAX,
        };
        let chain = Chain {
            next: u64::MAX,
            head: [0xff; 32],
        };
        let entry = chain.entry(u64::MAX, Kind::Read, &long, subject, outcome);
        let frame = entry.seal(&rows(), u64::MAX, [0; 24]);
        let (sealed, _) = split_frame(&frame).unwrap().unwrap();
        assert_eq!(
            Entry::open(&rows(), u64::MAX, u64::MAX, sealed).unwrap(),
            entry
        );
        assert_eq!(entry.actor.len(), MAX_ACTOR);
    }

    proptest! {
        #[test]
        fn audit_chain_detects_edit(n in 2u64..8, at in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
            let (frames, chain) = log(n);
            let at = at.index(frames.len());
            let mut removed = frames.clone();
            removed.remove(at);
            if at + 1 < frames.len() {
                prop_assert!(read(&removed.concat()).is_err(), "entry {} removed", at);
            } else {
                prop_assert_ne!(read(&removed.concat()).unwrap(), chain, "cut off at the end: only a signed head tells");
            }
            let (mut swapped, other) = (frames.clone(), other.index(frames.len()));
            swapped.swap(at, other);
            prop_assert_eq!(read(&swapped.concat()).is_err(), at != other);
            let mut flipped = frames.concat();
            let bit = bit.index(flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&flipped).is_err(), "bit {} flipped", bit);
        }

        #[test]
        fn no_bytes_make_the_frame_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), short in any::<bool>()) {
            let mut bytes = bytes;
            if short { bytes.splice(0..0, [0, 0, 0]); }
            prop_assert!(bytes.is_empty() || read(&bytes).is_err());
        }
    }
}
