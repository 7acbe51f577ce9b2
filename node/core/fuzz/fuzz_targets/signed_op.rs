#![no_main]
//! A control operation from a peer: what parses is canonical, survives its own checks without a panic, and only its author's signature counts.
use polykey_core::control::{Control, SignedOp};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(op) = SignedOp::parse(bytes) {
        assert_eq!(op.bytes(), bytes);
        let _ = op.verify(&op.payload().author);
        let _ = Control::new(&op);
    }
});
