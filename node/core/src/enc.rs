//! The one encoding of everything that is signed, stored or sent: CBOR arrays (RFC 8949) in canonical form, held by one rule: what decodes must encode to the same bytes.
//!
//! Without the rule one thing would have many encodings, hence many ids: the CBOR library takes long integers, indefinite arrays and extra fields without a word.
//! It also leaves out optional fields at the end of an array: `codec::nullable` writes `null` there, as the format wants.

use minicbor::encode::Write;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

/// Why bytes are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum EncError {
    /// Not CBOR of this type.
    #[error("malformed CBOR")]
    Malformed(#[source] minicbor::decode::Error),
    /// Another encoding of something that has a canonical one, or bytes after its end.
    #[error("not in canonical form")]
    NotCanonical,
}

/// The canonical bytes of `value`.
///
/// # Panics
/// Never: writing to memory cannot fail, and no type here refuses to be encoded.
#[must_use]
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding to memory cannot fail")
}

/// The canonical bytes of a secret, wiped when dropped. `capacity` is at least their number: a buffer that grew would leave its first copy behind.
///
/// # Panics
/// When the capacity is too small.
#[must_use]
pub fn encode_secret<T: Encode<()>>(value: &T, capacity: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(capacity));
    minicbor::encode(value, &mut *out).expect("encoding to memory cannot fail");
    assert!(out.len() <= capacity, "a secret outgrew its buffer");
    out
}

/// Reads `bytes`, which the caller has bounded, as a `T`. The comparison copies nothing, so a secret leaves no second trace.
///
/// # Errors
/// When they are not CBOR of a `T`, or not the bytes that [`encode`] would make of it.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8]) -> Result<T, EncError> {
    let value: T = minicbor::decode(bytes).map_err(EncError::Malformed)?;
    let mut expected = Expected(bytes);
    minicbor::encode(&value, &mut expected).map_err(|_| EncError::NotCanonical)?;
    if expected.0.is_empty() {
        Ok(value)
    } else {
        Err(EncError::NotCanonical)
    }
}

/// A writer that takes only the bytes that it expects, in order.
struct Expected<'b>(&'b [u8]);

/// The first byte that is another.
struct Different;

impl Write for Expected<'_> {
    type Error = Different;

    fn write_all(&mut self, written: &[u8]) -> Result<(), Different> {
        self.0 = self.0.strip_prefix(written).ok_or(Different)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::bytes::ByteVec;

    #[derive(Encode, Decode, Debug, PartialEq)]
    #[cbor(array)]
    struct Example {
        #[n(0)]
        number: u64,
        #[n(1)]
        bytes: ByteVec,
    }

    #[test]
    fn every_other_encoding_of_the_same_thing_is_refused() {
        let canonical = [0x82, 0x05, 0x42, 1, 2];
        assert_eq!(
            decode::<Example>(&canonical).unwrap(),
            Example {
                number: 5,
                bytes: vec![1, 2].into()
            }
        );
        for (what, bytes) in [
            ("a long integer", &[0x82, 0x18, 0x05, 0x42, 1, 2][..]),
            ("an indefinite array", &[0x9f, 0x05, 0x42, 1, 2, 0xff]),
            ("an extra field", &[0x83, 0x05, 0x42, 1, 2, 0x00]),
            ("a long length", &[0x82, 0x05, 0x58, 0x02, 1, 2]),
            ("a trailing byte", &[0x82, 0x05, 0x42, 1, 2, 0x00]),
            ("a short array", &[0x81, 0x05]),
            ("nothing", &[]),
        ] {
            assert!(decode::<Example>(bytes).is_err(), "{what}");
        }
    }
}
