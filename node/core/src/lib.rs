//! Vault formats and rules of Polykey: values in, values out. No clock, no files, no network and no randomness of its own: `now` and random bytes are passed in.

pub mod enc;
pub mod epoch;
pub mod ids;
pub mod keys;
pub mod labels;
pub mod row;
pub mod seal;
pub mod sign;
pub mod unlock;
