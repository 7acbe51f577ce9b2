//! How one input is read as several.

/// The pieces of an input: each is preceded by its length in two bytes; the last may be shorter.
pub fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, after) = rest.split_at(length);
        bytes = after;
        Some(piece)
    })
}
