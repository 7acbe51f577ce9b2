#![no_main]

#[path = "../src/pod.rs"]
mod pod;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pod::pod_version(bytes));
