#![no_main]
//! A wrap record from a peer, opened by a receiver for whom it may or may not be.
use polykey_core::epoch::{self, Place, WrapRecord};
use polykey_core::keys::RootKey;
use polykey_core::sign::Signed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Signed::<WrapRecord>::parse(bytes) {
        assert_eq!(record.bytes(), bytes);
        let WrapRecord { vault, epoch, to, from, .. } = record.payload();
        let place = Place { vault, epoch, to, from };
        let wrapped = record.payload().wrapped();
        assert!(epoch::unwrap(place, &wrapped, &RootKey::from_seed(&[1; 32]), &[0; 32]).is_err());
        let _ = record.verify(from);
    }
});
