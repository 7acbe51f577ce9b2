//! Ids as `Copy` newtypes over their bytes, with one text form each. An id is checked for its length and its alphabet when it is read; what it stands for is checked where it is used.

use crate::labels;
use minicbor::bytes::ByteArray;
use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};
use std::fmt;
use std::str::FromStr;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: {expected}")]
pub struct IdError {
    kind: &'static str,
    expected: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal, $expected:literal, $text:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The form for people's eyes; never enough to act on.
            #[must_use]
            pub fn short(&self) -> String {
                $text::short(&self.to_string())
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;
            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError { kind: $kind, expected: $expected })
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$text::write(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                $text::read::<$len>(text).map(Self).ok_or(IdError { kind: $kind, expected: $expected })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
                ByteArray::<$len>::decode(d, c).map(|b| Self(b.into()))
            }
        }
    };
}

id!(
    /// A node: its Ed25519 public key. Text: `v` and unpadded lower-case base32hex (RFC 4648, section 7), 53 characters.
    NodeId, 32, "node", "v and 52 characters of 0-9 a-v", node
);
id!(
    /// A vault: id of its Genesis operation. Text: `z` and base58btc of the 32 bytes.
    VaultId, 32, "vault", "z and 32 to 44 characters of base58", vault
);
id!(
    /// A version of a vault: id of a commit. Text: 64 lower-case hex digits.
    CommitId, 32, "version", "64 hex digits", hex
);
id!(
    /// An operation of a control log. Text: 64 lower-case hex digits.
    OpId, 32, "operation", "64 hex digits", hex
);
id!(
    /// A sealed object: the BLAKE3 hash of all its bytes. Text: 64 lower-case hex digits.
    Address, 32, "object", "64 hex digits", hex
);
id!(
    /// An epoch: which secret sealed an object. Text: 32 lower-case hex digits.
    EpochId, 16, "epoch", "32 hex digits", hex
);
id!(
    /// Names a commit inside the trees it makes, where its id cannot stand since the tree is hashed into it. Text: 32 lower-case hex digits.
    Tag, 16, "tag", "32 hex digits", hex
);

/// The tag of the commit that `author` makes as its `seq`-th with this random `nonce`.
#[must_use]
pub fn tag(vault: &VaultId, author: &NodeId, seq: u64, nonce: &[u8; 16]) -> Tag {
    let mut hasher = blake3::Hasher::new();
    hasher.update(labels::TAG.as_bytes());
    hasher.update(&[0]);
    hasher.update(vault.as_bytes());
    hasher.update(author.as_bytes());
    hasher.update(&seq.to_be_bytes());
    hasher.update(nonce);
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Tag(out)
}

/// The id of the version that several heads are together. `heads` are ascending.
#[must_use]
pub fn view(heads: &[CommitId]) -> CommitId {
    let payload: Vec<u8> = heads.iter().flat_map(|h| h.0).collect();
    CommitId(crate::sign::id(labels::VIEW, &payload))
}

mod hex {
    pub fn write(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes
            .iter()
            .fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
                let _ = write!(s, "{b:02x}");
                s
            })
    }

    pub fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
        let text = text.as_bytes();
        if text.len() != N * 2 {
            return None;
        }
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let mut out = [0; N];
        for (o, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
            *o = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(out)
    }

    pub fn short(text: &str) -> String {
        text[..12].to_owned()
    }
}

mod node {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

    pub fn write(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(53);
        out.push('v');
        for at in 0..52 {
            out.push(ALPHABET[usize::from(five_bits(bytes, at))] as char);
        }
        out
    }

    /// The `at`-th group of five bits; the last one is filled up with zeros.
    fn five_bits(bytes: &[u8], at: usize) -> u8 {
        let bit = at * 5;
        let high = u16::from(bytes[bit / 8]) << 8;
        let low = bytes.get(bit / 8 + 1).copied().map_or(0, u16::from);
        ((high | low) >> (11 - bit % 8) & 31) as u8
    }

    pub fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
        let digits = text.strip_prefix('v')?.as_bytes();
        if digits.len() != 52 {
            return None;
        }
        let mut out = [0; N];
        let (mut buffer, mut bits, mut at) = (0u32, 0, 0);
        for d in digits {
            let value = ALPHABET.iter().position(|a| a == d)?;
            buffer = buffer << 5 | u32::try_from(value).ok()?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                *out.get_mut(at)? = u8::try_from(buffer >> bits & 0xff).ok()?;
                at += 1;
            }
        }
        // Four bits are left over: zeros, or there would be two texts of one id.
        (at == N && buffer & ((1 << bits) - 1) == 0).then_some(out)
    }

    pub fn short(text: &str) -> String {
        format!("{}…{}", &text[..4], &text[text.len() - 4..])
    }
}

mod vault {
    pub use super::node::short;

    pub fn write(bytes: &[u8]) -> String {
        format!("z{}", bs58::encode(bytes).into_string())
    }

    pub fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
        let digits = text.strip_prefix('z')?;
        // 32 bytes are 32 (all zero) to 44 digits; the bound comes before base58's quadratic work.
        if !(32..=44).contains(&digits.len()) {
            return None;
        }
        let mut out = [0; N];
        let n = bs58::decode(digits).onto(&mut out).ok()?;
        (n == N).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_those_of_the_formats_reference() {
        let e = hex::read::<32>("1de352e44cd333672593f2334a730e180aaf290de89aa16d480de594e34e2961")
            .unwrap();
        assert_eq!(
            NodeId(e).to_string(),
            "v3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gg"
        );
        assert_eq!(
            VaultId([0x22; 32]).to_string(),
            "z3JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3"
        );
        assert_eq!(NodeId(e).short(), "v3nh…55gg");
        assert_eq!(
            tag(&VaultId([0x22; 32]), &NodeId(e), 1, &[0x55; 16]).to_string(),
            "6e5aaa7776a6c8bcb21113f67244f9e2"
        );
    }

    #[test]
    fn a_text_has_one_id_and_an_id_has_one_text() {
        for bad in [
            "",
            "v",
            "V3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gg",
            "v3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gh",
            "v3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gw",
        ] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "z",
            "z0JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3",
            "3JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3",
            "z11JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3",
        ] {
            assert!(bad.parse::<VaultId>().is_err(), "{bad}");
        }
        assert!(
            "AB".repeat(32).parse::<CommitId>().is_err(),
            "upper-case hex is another text"
        );
    }

    proptest! {
        #[test]
        fn every_id_comes_back_from_its_text(bytes: [u8; 32], half: [u8; 16]) {
            prop_assert_eq!(NodeId(bytes).to_string().parse::<NodeId>().unwrap().0, bytes);
            prop_assert_eq!(VaultId(bytes).to_string().parse::<VaultId>().unwrap().0, bytes);
            prop_assert_eq!(CommitId(bytes).to_string().parse::<CommitId>().unwrap().0, bytes);
            prop_assert_eq!(EpochId(half).to_string().parse::<EpochId>().unwrap().0, half);
        }

        #[test]
        fn no_text_makes_a_parser_panic_and_what_is_read_is_written_the_same(text in "\\PC{0,60}") {
            if let Ok(id) = text.parse::<NodeId>() { prop_assert_eq!(id.to_string(), text.clone()); }
            if let Ok(id) = text.parse::<VaultId>() { prop_assert_eq!(id.to_string(), text); }
        }
    }
}
