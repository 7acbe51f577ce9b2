//! Vault formats and rules of Polykey: values in, values out. No clock, no files, no network and no randomness of its own: `now` and random bytes are passed in.

pub mod acl;
pub mod audit;
mod codec;
pub mod commit;
pub mod control;
pub mod enc;
pub mod epoch;
pub mod ids;
pub mod keys;
pub mod labels;
pub mod path;
pub mod row;
pub mod seal;
pub mod sign;
pub mod tree;
pub mod unlock;
pub mod wire;
