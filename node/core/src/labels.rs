//! Every domain separation string, verbatim, each for one use. A string that stood for two things would let bytes made for one be taken for the other.

/// `derive_key` context of the recovery key, from the second half of the BIP39 seed.
pub const RECOVERY_KEY: &str = "polykey/1 recovery key";
/// `derive_key` context of the key that wraps the database key, from the root key.
pub const LOCAL_KEK: &str = "polykey/1 local kek";
/// `derive_key` context of the key-encryption key of a key file.
pub const KEYFILE: &str = "polykey/1 keyfile";
/// Prefix of the associated data of the database key wrapped for the root key.
pub const DB_KEY: &str = "polykey/1 db key";
/// `derive_key` context of an epoch's object key.
pub const OBJECT_KEY: &str = "polykey/1 object key";
/// `derive_key` context of an epoch's nonce key.
pub const OBJECT_NONCE: &str = "polykey/1 object nonce";
/// `derive_key` context of an epoch's chain key, which boxes the secrets before it.
pub const EPOCH_CHAIN: &str = "polykey/1 epoch chain";
/// `derive_key` context of the commitment to an epoch's secret.
pub const EPOCH_COMMIT: &str = "polykey/1 epoch commit";
/// `derive_key` context of the secret that joins concurrent epochs.
pub const EPOCH_JOIN: &str = "polykey/1 epoch join";
/// Prefix of the hash that names an epoch.
pub const EPOCH_ID: &str = "polykey/1 epoch id";
/// HPKE `info` of a wrap.
pub const EPOCH_WRAP: &str = "polykey/1 epoch wrap";
/// `derive_key` context of the ephemeral randomness of a wrap.
pub const WRAP_RANDOM: &str = "polykey/1 wrap random";
/// `derive_key` context of the commitment to a vault's shape key.
pub const SHAPE_COMMIT: &str = "polykey/1 shape commit";
/// Prefix of the associated data of a sealed object.
pub const OBJECT: &str = "polykey/1 object";
/// Prefix of the associated data of a row of the store.
pub const ROW: &str = "polykey/1 row";
/// Prefix of the hash that names a commit inside trees.
pub const TAG: &str = "polykey/1 tag";
/// Signing context of a control operation.
pub const OP: &str = "polykey/1 op";
/// Signing context of a commit.
pub const COMMIT: &str = "polykey/1 commit";
/// Signing context of a wrap record.
pub const WRAP: &str = "polykey/1 wrap";
/// Signing context of a sigchain claim.
pub const CLAIM: &str = "polykey/1 claim";
/// Signing context of a link between two nodes.
pub const LINK: &str = "polykey/1 link";
/// Signing context of a freshness beat.
pub const BEAT: &str = "polykey/1 beat";
/// Signing context of a process's start on a store.
pub const START: &str = "polykey/1 start";
/// Context of a note.
pub const NOTE: &str = "polykey/1 note";
/// Context of an audit entry and its signed head.
pub const AUDIT: &str = "polykey/1 audit";
/// Prefix of the keyed hash that names a path in the audit.
pub const AUDIT_PATH: &str = "polykey/1 audit path";
/// Context of the id of several heads together.
pub const VIEW: &str = "polykey/1 view";
