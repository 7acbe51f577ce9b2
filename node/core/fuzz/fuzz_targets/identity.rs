#![no_main]
//! `identity.pk` from a disk that somebody else wrote to: no panic, and no Argon2 parameters out of bounds. (Argon2 itself is too slow to run here.)
use polykey_core::keys::RootKey;
use polykey_core::unlock::{self, Method, Secret};

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    if let Ok(Method::Passphrase(cost)) = unlock::method(file) {
        assert!((19 << 10..=1 << 20).contains(&cost.memory_kib) && (2..=16).contains(&cost.passes));
    }
    let _ = unlock::open(file, &Secret::KeyFile(&[5; 32]));
    let _ = unlock::open_by_root(file, RootKey::from_seed(&[1; 32]), None);
});
