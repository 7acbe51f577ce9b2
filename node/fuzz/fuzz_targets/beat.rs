#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| polykey_fuzz::signed::beat(bytes));
