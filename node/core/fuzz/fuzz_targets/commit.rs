#![no_main]
//! A commit header from a peer.
use polykey_core::commit::SignedCommit;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(commit) = SignedCommit::parse(bytes) {
        assert_eq!(commit.bytes(), bytes);
        let _ = commit.payload().tag();
        let _ = commit.verify(&commit.payload().author);
    }
});
