//! Everything that reads bytes of others bears any bytes: the functions that the fuzzer runs (`node/fuzz`), on real inputs, on what the fuzzer found before, on changed
//! copies of both, and on noise.

#[path = "../../fuzz/src/lib.rs"]
mod decoders;
mod examples;

use decoders::{DECODERS, Decoder};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A seed that a fuzzer learns from in a moment; what needs more is a format's bound, which its own tests hold.
const MAX_SEED: usize = 8 << 10;

/// Targets that other crates run on their seeds: the node knows no sidecar.
const ELSEWHERE: [&str; 1] = ["pod_version"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The seeds of a decoder, by name.
fn seeds(decoder: &Decoder) -> Vec<(String, Vec<u8>)> {
    let folder = folder("seeds").join(decoder.name);
    let read = |name: String| {
        let bytes = fs::read(folder.join(&name)).unwrap();
        (name, bytes)
    };
    names(&folder).into_iter().map(read).collect()
}

static SEEDS: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let bytes = |decoder| seeds(decoder).into_iter().map(|(_, bytes)| bytes).collect();
    DECODERS.iter().map(bytes).collect()
});

#[test]
fn every_decoder_has_a_fuzz_target_and_small_seeds() {
    let here = DECODERS.iter().map(|d| d.name);
    let expected: BTreeSet<String> = here.chain(ELSEWHERE).map(str::to_owned).collect();
    let targets = names(&folder("fuzz_targets"));
    let targets = targets
        .iter()
        .map(|t| t.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(expected, targets, "fuzz_targets");
    assert_eq!(expected, names(&folder("seeds")), "seeds");
    for decoder in DECODERS {
        let seeds = seeds(decoder);
        assert!(!seeds.is_empty(), "{} has no seeds", decoder.name);
        assert!(
            seeds.iter().all(|(_, bytes)| bytes.len() <= MAX_SEED),
            "{} has a seed over {MAX_SEED} bytes",
            decoder.name
        );
    }
}

/// With `POLYKEY_WRITE_SEEDS` set it writes them instead.
#[test]
fn the_seeds_are_what_the_formats_give() {
    for (decoder, name, bytes) in examples::all() {
        let file = folder("seeds").join(decoder).join(name);
        if std::env::var_os("POLYKEY_WRITE_SEEDS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &bytes).unwrap();
        }
        let seed = fs::read(&file).unwrap_or_default();
        assert!(
            seed == bytes,
            "{decoder}/{name} is another: a format has changed; POLYKEY_WRITE_SEEDS=1 writes the seeds again"
        );
    }
}

#[test]
fn real_inputs_and_former_findings_do_not_break_a_decoder() {
    for decoder in DECODERS {
        for (name, bytes) in seeds(decoder) {
            eprintln!("{} {name}", decoder.name);
            (decoder.run)(&bytes);
        }
    }
}

/// One change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index| {
            index
                .index(bytes.len() + 1)
                .min(bytes.len().saturating_sub(1))
        };
        let part = |from: usize, length: usize| from..(from + length).min(bytes.len());
        match self {
            Change::Insert(index, more) => drop(bytes.splice(part(at(index), 0), more.clone())),
            _ if bytes.is_empty() => {}
            Change::Flip(index, bit) => {
                let at = at(index);
                bytes[at] ^= 1 << (bit % 8);
            }
            Change::Set(index, byte) => {
                let at = at(index);
                bytes[at] = *byte;
            }
            Change::Remove(index, length) => drop(bytes.drain(part(at(index), *length))),
            Change::Repeat(index, length) => {
                let again = bytes[part(at(index), *length)].to_vec();
                bytes.extend(again);
            }
            Change::Cut(index) => {
                let at = at(index);
                bytes.truncate(at);
            }
        }
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    // Bytes that mean something in CBOR and in lengths stand among the others.
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![
            0, 0x17, 0x18, 0x1b, 0x5b, 0x7f, 0x80, 0x9b, 0x9f, 0xbf, 0xf6, 0xff
        ])
    ];
    let at = any::<Index>();
    prop_oneof![
        3 => (at.clone(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        4 => (at.clone(), byte.clone()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (at.clone(), prop::collection::vec(byte, 1..9)).prop_map(|(at, more)| Change::Insert(at, more)),
        1 => (at.clone(), 1..40usize).prop_map(|(at, n)| Change::Remove(at, n)),
        1 => (at.clone(), 1..200usize).prop_map(|(at, n)| Change::Repeat(at, n)),
        1 => at.prop_map(Change::Cut),
    ]
}

proptest! {
    #[test]
    fn no_changed_input_breaks_a_decoder(which: Index, changes in prop::collection::vec(any_change(), 1..5)) {
        for (decoder, seeds) in DECODERS.iter().zip(SEEDS.iter()) {
            let mut bytes = which.get(seeds).clone();
            for change in &changes {
                change.apply(&mut bytes);
            }
            (decoder.run)(&bytes);
        }
    }

    #[test]
    fn no_noise_breaks_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for decoder in DECODERS {
            (decoder.run)(&bytes);
        }
    }
}
