//! Vault formats and rules of Polykey: values in, values out. No clock, no files, no network and no randomness of its own: `now` and random bytes are passed in.
//!
//! | what | modules |
//! |---|---|
//! | names and bytes | [`ids`], [`labels`], [`enc`] (one canonical CBOR), [`path`] |
//! | keys | [`keys`] (words, root key), [`unlock`] (`identity.pk`), [`epoch`] (a vault's secrets and who gets them) |
//! | sealed things | [`seal`] (objects of vaults), [`row`] (the local store), [`audit`] |
//! | signed things | [`sign`], [`control`] (who), [`commit`] (when), [`cap`] (how many), [`doubles`] (two with one number), [`beat`] (how fresh), [`link`] (which nodes belong together) |
//! | contents | [`tree`] (what), [`view`] (of several heads together), [`growing`] (which are here, and which come next), [`prune`] (which are kept) |
//! | between nodes, and before pods | [`wire`], [`acl`] |
//!
//! Three habits hold everywhere: bytes from outside are bounded before anything is allocated for them; what decodes is canonical, so that one thing
//! has one id; and secrets are wiped when dropped and have no `Debug`, `Clone` or `Serialize`.

pub mod acl;
pub mod audit;
pub mod beat;
pub mod cap;
mod codec;
pub mod commit;
pub mod control;
pub mod doubles;
pub mod enc;
pub mod epoch;
pub mod growing;
pub mod ids;
pub mod keys;
pub mod labels;
pub mod link;
pub mod path;
pub mod prune;
pub mod row;
pub mod seal;
pub mod sign;
pub mod tree;
pub mod unlock;
pub mod view;
pub mod wire;

#[cfg(test)]
mod testing;
