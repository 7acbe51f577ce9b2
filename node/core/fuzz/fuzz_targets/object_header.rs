#![no_main]
//! What anyone reads of an object before it has a key: bounds hold, and what is accepted is ordered and of a size that sealing gives.
use polykey_core::seal::{self, MAX_OBJECT, MAX_REFS};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = seal::header(bytes) {
        assert!(bytes.len() <= MAX_OBJECT && header.refs.len() <= MAX_REFS);
        assert!(header.refs.is_sorted_by(|a, b| a < b));
        let padded = bytes.len() - 64 - 32 * header.refs.len();
        assert_eq!(seal::pad(padded), padded);
    }
});
