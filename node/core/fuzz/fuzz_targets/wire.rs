#![no_main]
//! A stream's first byte and frame from a peer: every message that may follow that byte. What is read is written the same.
use polykey_core::wire::{self, Call, Cloned, Get, Hello, Message, Need, ObjectsFrame, Pull, RecordsFrame, SyncFrame};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&first, body)) = bytes.split_first() else { return };
    match Call::from_byte(first) {
        Some(Call::Hello) => same::<Hello>(body),
        Some(Call::Sync) => same::<SyncFrame>(body),
        Some(Call::Pull) => same::<Pull>(body),
        Some(Call::Get) => same::<Get>(body),
        Some(Call::Need) => same::<Need>(body),
        Some(Call::Cloned) => same::<Cloned>(body),
        None if first & 1 == 0 => same::<ObjectsFrame>(body),
        None => same::<RecordsFrame>(body),
    }
});

fn same<M: Message>(body: &[u8]) {
    if let Ok(message) = wire::read::<M>(body) {
        assert_eq!(&wire::frame(&message).expect("it fitted a frame")[4..], body);
    }
}
