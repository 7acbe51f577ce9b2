//! The messages of sync: their encodings and bounds, checked before anything is allocated. What they carry is signed or self-addressed and is judged
//! elsewhere; nothing here is believed because of who sent it.
//!
//! A stream begins with one byte, the number of its [`Call`]; then frames go both ways, each `u32 length (big-endian) ‖ canonical CBOR`.
//!
//! | call | caller sends | callee answers |
//! |---|---|---|
//! | Hello | one [`Hello`] | one [`Hello`] |
//! | Cloned | one [`Cloned`] | nothing |
//! | Sync | [`SyncFrame`]s: `Sync` first, then `Announce` when something is new, and `Beats`; the stream stays open | the same; or `Refused` and the end |
//! | Pull | one [`Pull`] | [`ObjectsFrame`]s in top-down order, up to `End` or `Refused` |
//! | Get | one [`Get`] | [`ObjectsFrame`]s, up to `End` or `Refused`; what it has not got it leaves out |
//! | Need | one [`Need`] | [`RecordsFrame`]s, up to `End` or `Refused` |

mod hello;

pub use hello::{Cloned, Double, Hello, Seen, SignedStart, Start, double};

use crate::beat::MAX_BEAT;
use crate::codec;
use crate::enc::{self, EncError};
use crate::ids::{Address, CommitId, OpId, VaultId};
use crate::seal;
use crate::sign::SIGNATURE;
use minicbor::bytes::ByteVec;
use minicbor::decode::Decoder;
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};

/// The version of these messages, as [`Hello`] and the ALPN name `polykey/1` say it.
pub const VERSION: u16 = 1;
/// The largest frame: the flow-control window of a stream, so that a frame never waits for its own end. Senders split what is larger.
pub const MAX_FRAME: usize = 1 << 20;
/// The most heads in one message: 8 of each of 32 authors who write at once.
pub const MAX_HEADS: usize = 256;
/// The most operations, wraps or commits in one frame, and ids in one [`Need`].
pub const MAX_RECORDS: usize = 256;
/// The most beats in one frame: one of each member.
pub const MAX_BEATS: usize = 256;
/// The most objects in one frame: a commit of one secret makes about ten; 256 of the smallest are 100 KiB.
pub const MAX_OBJECTS: usize = 256;
/// The most addresses in one [`Get`].
pub const MAX_ADDRESSES: usize = 1_024;
/// The most bytes of objects that a sender puts into an [`Announce`]; with more it leaves all of them to be pulled.
pub const MAX_INLINE: usize = 64 << 10;
/// The longest list of versions in [`Hello`].
pub const MAX_VERSIONS: usize = 16;
/// The most bytes of one signed record: an operation (64 KiB) with its signature is the largest.
pub const MAX_RECORD: usize = crate::control::MAX_OP + SIGNATURE;

/// First byte of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// Who am I, since when.
    Hello = 0,
    /// Subscription to a vault.
    Sync = 1,
    /// What of a version's objects is not in those.
    Pull = 2,
    /// Objects by address.
    Get = 3,
    /// Operations and commits by id.
    Need = 4,
    /// There is another process with your identity.
    Cloned = 5,
}

impl Call {
    /// The call with this number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Call> {
        let all = [
            Call::Hello,
            Call::Sync,
            Call::Pull,
            Call::Get,
            Call::Need,
            Call::Cloned,
        ];
        all.into_iter().find(|call| *call as u8 == byte)
    }
}

/// Why a frame is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The frame says that it is longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes; the most is {MAX_FRAME}")]
    TooLong(usize),
    /// Not this message, over one of its bounds, or not in canonical form.
    #[error("a malformed {message}")]
    Malformed {
        /// Which message it should be.
        message: &'static str,
        /// Why it is not.
        #[source]
        source: EncError,
    },
    /// A set that is not in ascending order.
    #[error("a {0} whose ids are not in ascending order")]
    Order(&'static str),
}

/// A message that fits a frame.
pub trait Message: Encode<()> + for<'b> Decode<'b, ()> {
    /// What errors call it.
    const NAME: &'static str;

    /// Whether what is a set is written as one.
    fn sets_ascend(&self) -> bool {
        true
    }
}

/// The frame of `message`: length and encoding.
///
/// # Errors
/// When it would be longer than [`MAX_FRAME`].
///
/// # Panics
/// Never: a length under the bound fits 32 bits.
pub fn frame<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    let body = enc::encode(message);
    if body.len() > MAX_FRAME {
        return Err(WireError::TooLong(body.len()));
    }
    let length = u32::try_from(body.len()).expect("bounded by MAX_FRAME");
    let mut out = Vec::with_capacity(4 + body.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// The length of the body that follows these four bytes, before a buffer is made for it.
///
/// # Errors
/// When it is more than [`MAX_FRAME`].
pub fn body_length(prefix: [u8; 4]) -> Result<usize, WireError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > MAX_FRAME {
        return Err(WireError::TooLong(length));
    }
    Ok(length)
}

/// Reads the body of a frame.
///
/// # Errors
/// When it is too long, not an `M`, over a bound, or not canonical.
pub fn read<M: Message>(body: &[u8]) -> Result<M, WireError> {
    if body.len() > MAX_FRAME {
        return Err(WireError::TooLong(body.len()));
    }
    let message: M = enc::decode(body).map_err(|source| WireError::Malformed {
        message: M::NAME,
        source,
    })?;
    if !message.sets_ascend() {
        return Err(WireError::Order(M::NAME));
    }
    Ok(message)
}

/// What a node holds of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Sync {
    /// The vault.
    #[n(0)]
    pub vault: VaultId,
    /// Heads of its control log, ascending.
    #[n(1)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_HEADS>")]
    pub control_heads: Vec<OpId>,
    /// Heads of its commits, ascending.
    #[n(2)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_HEADS>")]
    pub heads: Vec<CommitId>,
}

/// What is new, parents before children. Objects are here if all of them together are at most [`MAX_INLINE`], else none is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Announce {
    /// Signed operations.
    #[n(0)]
    #[cbor(decode_with = "signed_records")]
    pub ops: Vec<ByteVec>,
    /// Signed wraps.
    #[n(1)]
    #[cbor(decode_with = "signed_records")]
    pub wraps: Vec<ByteVec>,
    /// Signed commits.
    #[n(2)]
    #[cbor(decode_with = "signed_records")]
    pub commits: Vec<ByteVec>,
    /// Sealed objects.
    #[n(3)]
    #[cbor(decode_with = "sealed_objects")]
    pub objects: Vec<ByteVec>,
}

impl Announce {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
            && self.wraps.is_empty()
            && self.commits.is_empty()
            && self.objects.is_empty()
    }
}

/// A frame on the stream of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum SyncFrame {
    /// What the sender holds: its first frame, and again whenever it wants to be told what it lacks.
    #[n(0)]
    Sync(#[n(0)] Sync),
    /// Something new.
    #[n(1)]
    Announce(#[n(0)] Announce),
    /// No subscription.
    #[n(2)]
    Refused(#[n(0)] Refused),
    /// Signed beats, each the newest of its author that the sender has.
    #[n(3)]
    Beats(
        #[n(0)]
        #[cbor(decode_with = "signed_beats")]
        Vec<ByteVec>,
    ),
}

impl Message for SyncFrame {
    const NAME: &'static str = "Sync frame";

    fn sets_ascend(&self) -> bool {
        match self {
            SyncFrame::Sync(sync) => {
                codec::ascending(&sync.control_heads) && codec::ascending(&sync.heads)
            }
            SyncFrame::Announce(_) | SyncFrame::Refused(_) | SyncFrame::Beats(_) => true,
        }
    }
}

/// Asks for the objects of one version that are not in others.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Pull {
    /// The vault.
    #[n(0)]
    pub vault: VaultId,
    /// Versions that the caller holds whole, ascending. One that the callee does not know counts as empty.
    #[n(1)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_HEADS>")]
    pub have: Vec<CommitId>,
    /// The version that it wants.
    #[n(2)]
    pub want: CommitId,
    /// The most bytes of objects that it takes in this call; then it asks again, by [`Get`].
    #[n(3)]
    pub budget: u64,
}

impl Message for Pull {
    const NAME: &'static str = "Pull";

    fn sets_ascend(&self) -> bool {
        codec::ascending(&self.have)
    }
}

/// Asks for objects.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Get {
    /// The vault.
    #[n(0)]
    pub vault: VaultId,
    /// Which, in the order in which they are wanted.
    #[n(1)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_ADDRESSES>")]
    pub addresses: Vec<Address>,
}

impl Message for Get {
    const NAME: &'static str = "Get";
}

/// Asks for operations and commits that others name as parents. Together at most [`MAX_RECORDS`] are answered; then the caller asks again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Need {
    /// The vault.
    #[n(0)]
    pub vault: VaultId,
    /// Operations, ascending.
    #[n(1)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_RECORDS>")]
    pub ops: Vec<OpId>,
    /// Commits, ascending.
    #[n(2)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_RECORDS>")]
    pub commits: Vec<CommitId>,
}

impl Message for Need {
    const NAME: &'static str = "Need";

    fn sets_ascend(&self) -> bool {
        codec::ascending(&self.ops) && codec::ascending(&self.commits)
    }
}

/// A part of the answer to [`Pull`] or [`Get`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum ObjectsFrame {
    /// Sealed objects.
    #[n(0)]
    Objects(
        #[n(0)]
        #[cbor(decode_with = "sealed_objects")]
        Vec<ByteVec>,
    ),
    /// That was all that the callee has, within the budget.
    #[n(1)]
    End,
    /// Nothing, or nothing more.
    #[n(2)]
    Refused(#[n(0)] Refused),
}

impl Message for ObjectsFrame {
    const NAME: &'static str = "Objects frame";
}

/// A part of the answer to [`Need`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum RecordsFrame {
    /// Operations and commits, parents first.
    #[n(0)]
    Records {
        /// Signed operations.
        #[n(0)]
        #[cbor(decode_with = "signed_records")]
        ops: Vec<ByteVec>,
        /// Signed commits.
        #[n(1)]
        #[cbor(decode_with = "signed_records")]
        commits: Vec<ByteVec>,
    },
    /// That was all that the callee has.
    #[n(1)]
    End,
    /// Nothing, or nothing more.
    #[n(2)]
    Refused(#[n(0)] Refused),
}

impl Message for RecordsFrame {
    const NAME: &'static str = "Records frame";
}

/// A refusal: a code and no more, so that it tells a stranger nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    /// There is no such vault, or none for you: the same bytes, by the same path.
    NotFound = 0,
    /// Over a quota or a limit of calls in flight: ask again later.
    Busy = 1,
    /// The tree of that version was dropped here.
    Pruned = 2,
    /// The call was malformed.
    Malformed = 3,
    /// No version of the messages that both speak.
    Version = 4,
}

impl Refused {
    const ALL: [Refused; 5] = [
        Refused::NotFound,
        Refused::Busy,
        Refused::Pruned,
        Refused::Malformed,
        Refused::Version,
    ];
}

impl<C> Encode<C> for Refused {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(*self as u8)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Refused {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let code = d.u8()?;
        Refused::ALL
            .into_iter()
            .find(|refused| *refused as u8 == code)
            .ok_or_else(|| minicbor::decode::Error::message("an unknown refusal"))
    }
}

/// Signed records: their number and sizes checked first.
fn signed_records<C>(
    d: &mut Decoder<'_>,
    c: &mut C,
) -> Result<Vec<ByteVec>, minicbor::decode::Error> {
    bounded::<C, MAX_RECORDS, MAX_RECORD>(d, c)
}

/// Signed beats: their number and sizes checked first.
fn signed_beats<C>(
    d: &mut Decoder<'_>,
    c: &mut C,
) -> Result<Vec<ByteVec>, minicbor::decode::Error> {
    bounded::<C, MAX_BEATS, MAX_BEAT>(d, c)
}

/// Sealed objects: their number and sizes checked first.
fn sealed_objects<C>(
    d: &mut Decoder<'_>,
    c: &mut C,
) -> Result<Vec<ByteVec>, minicbor::decode::Error> {
    bounded::<C, MAX_OBJECTS, { seal::MAX_OBJECT }>(d, c)
}

fn bounded<C, const MAX: usize, const LENGTH: usize>(
    d: &mut Decoder<'_>,
    c: &mut C,
) -> Result<Vec<ByteVec>, minicbor::decode::Error> {
    let length = d
        .array()?
        .filter(|n| *n <= MAX as u64)
        .ok_or_else(|| minicbor::decode::Error::message("a list that is too long"))?;
    (0..length)
        .map(|_| codec::bytes::<C, LENGTH>(d, c))
        .collect()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
