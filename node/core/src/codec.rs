//! Codecs of single fields: what the derived ones leave open. An absent value is `null` in its place, so that an array has one length; a list or a
//! text is held to its bound before anything is allocated for it.

use minicbor::bytes::ByteVec;
use minicbor::decode::{Decode, Decoder, Error};

/// An optional field: `null` when absent.
#[allow(
    clippy::ref_option,
    clippy::option_option,
    reason = "the derived code passes fields by reference"
)]
pub mod nullable {
    use minicbor::decode::{Decode, Decoder};
    use minicbor::encode::{Encode, Encoder, Write};

    /// Writes the value, or `null`.
    pub fn encode<C, T: Encode<C>, W: Write>(
        value: &Option<T>,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        value.encode(e, c)
    }

    /// No value is left out, so that an array has one length.
    pub fn is_nil<T>(_: &Option<T>) -> bool {
        false
    }

    /// No value may be left out.
    pub fn nil<T>() -> Option<Option<T>> {
        None
    }

    /// Reads a value, or `null`.
    pub fn decode<'b, C, T: Decode<'b, C>>(
        d: &mut Decoder<'b>,
        c: &mut C,
    ) -> Result<Option<T>, minicbor::decode::Error> {
        Option::decode(d, c)
    }
}

/// A list of at most `MAX` things, its length checked before the first is read.
pub fn list<'b, C, T: Decode<'b, C>, const MAX: usize>(
    d: &mut Decoder<'b>,
    c: &mut C,
) -> Result<Vec<T>, Error> {
    let length = d
        .array()?
        .ok_or_else(|| Error::message("a list without a length"))?;
    if length > MAX as u64 {
        return Err(Error::message("a list that is too long"));
    }
    (0..length).map(|_| T::decode(d, c)).collect()
}

/// At most `MAX` bytes.
pub fn bytes<C, const MAX: usize>(d: &mut Decoder<'_>, _: &mut C) -> Result<ByteVec, Error> {
    let bytes = d.bytes()?;
    if bytes.len() > MAX {
        return Err(Error::message("bytes that are too long"));
    }
    Ok(bytes.to_vec().into())
}

/// A text of at most `MAX` bytes.
pub fn text<C, const MAX: usize>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, Error> {
    let text = d.str()?;
    if text.len() > MAX {
        return Err(Error::message("a text that is too long"));
    }
    Ok(text.to_owned())
}

/// At most `MAX` texts, each of at most `LENGTH` bytes.
pub fn texts<C, const MAX: usize, const LENGTH: usize>(
    d: &mut Decoder<'_>,
    c: &mut C,
) -> Result<Vec<String>, Error> {
    let length = d
        .array()?
        .ok_or_else(|| Error::message("a list without a length"))?;
    if length > MAX as u64 {
        return Err(Error::message("a list that is too long"));
    }
    (0..length).map(|_| text::<C, LENGTH>(d, c)).collect()
}

/// Whether every item is greater than the one before it: how a set is written.
pub fn ascending<T: Ord>(items: &[T]) -> bool {
    items.windows(2).all(|pair| pair[0] < pair[1])
}
