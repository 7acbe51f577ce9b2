//! Everything in Polykey that reads bytes of others, as functions of bytes: what the fuzzer runs, and what `cargo test` runs on the seeds and on changed copies of them.
//!
//! A function returns for any input, in time and memory that its length bounds, and asserts what must hold of what was accepted. Where a signature or a seal would keep
//! a fuzzer out, the function signs or seals the input itself: a member with the right keys can do so too.

pub mod local;
mod pieces;
pub mod sealed;
pub mod signed;

use pieces::pieces;

/// A reader of bytes.
pub struct Decoder {
    /// Its name, which is that of its fuzz target and of its directory of seeds.
    pub name: &'static str,
    /// Gives it an input.
    pub run: fn(&[u8]),
}

macro_rules! decoders {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// All of them.
        pub const DECODERS: &[Decoder] = &[$(Decoder { name: stringify!($name), run: $module::$name }),*];
    };
}

decoders![
    sealed::object_header,
    sealed::tree,
    sealed::identity,
    sealed::audit,
    signed::signed_op,
    signed::control_log,
    signed::commit,
    signed::commit_graph,
    signed::beat,
    signed::wrap,
    signed::wrap_plain,
    signed::start,
    signed::wire,
    local::edits,
    local::api_request,
    local::api_answer,
    local::watch_stream,
    local::reference,
    local::text,
    local::token,
    local::key_set,
    local::leaf,
];
