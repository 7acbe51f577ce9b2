//! The keys of a node: 24 words → root key (its id, signs and receives) and recovery key (takes vaults back from a thief; its private half never touches a disk).

use crate::ids::NodeId;
use crate::labels;
use crate::sign::{self, SIGNATURE};
use bip39::{Language, Mnemonic};
use ed25519_dalek::{Signer, SigningKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A symmetric key, wiped when dropped.
pub type Key32 = Zeroizing<[u8; 32]>;

/// `blake3::derive_key`, with its input and output wiped by their owners.
#[must_use]
pub fn derive(context: &'static str, secret: &[u8]) -> Key32 {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(secret);
    let mut out = Zeroizing::new([0; 32]);
    hasher.finalize_xof().fill(out.as_mut());
    hasher.zeroize();
    out
}

/// Why words are no recovery code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Another number of words.
    #[error("{0} words; a recovery code has 24 (older ones 12)")]
    Count(usize),
    /// One word is not in the list. The word itself is not told: it may be a slip of the right one.
    #[error("word {position} is not in the list{}", suggestion.map(|s| format!(": did you mean {s}?")).unwrap_or_default())]
    Unknown {
        /// Counted from 1.
        position: usize,
        /// The nearest word of the list, when one is near.
        suggestion: Option<&'static str>,
    },
    /// All words exist, but they do not belong together.
    #[error("the words do not belong together: one is wrong, or two are swapped")]
    Checksum,
}

/// The words of a recovery code (BIP39, English). 24 are made; 12 are accepted, since older Polykey nodes have such codes.
pub struct Words(Zeroizing<String>);

impl Words {
    /// The 24 words of 32 random bytes.
    ///
    /// # Panics
    /// Never: 32 bytes are a length that BIP39 has.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; 32]) -> Words {
        let mnemonic = Mnemonic::from_entropy(entropy).expect("256 bits are a valid length");
        Words(Zeroizing::new(
            mnemonic.words().collect::<Vec<_>>().join(" "),
        ))
    }

    /// Reads words as typed: any white space between them, any case.
    ///
    /// # Errors
    /// The first word that is not in the list, by its place, or that they do not belong together.
    pub fn parse(text: &str) -> Result<Words, WordsError> {
        let lower = Zeroizing::new(text.to_lowercase());
        let words = Zeroizing::new(lower.split_whitespace().collect::<Vec<_>>().join(" "));
        let count = words.split_whitespace().count();
        if count != 24 && count != 12 {
            return Err(WordsError::Count(count));
        }
        match Mnemonic::parse_in_normalized(Language::English, &words) {
            Ok(_) => Ok(Words(words)),
            Err(bip39::Error::UnknownWord(at)) => {
                let word = words.split_whitespace().nth(at).unwrap_or_default();
                Err(WordsError::Unknown {
                    position: at + 1,
                    suggestion: nearest(word),
                })
            }
            Err(_) => Err(WordsError::Checksum),
        }
    }

    /// The words, one space between them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity that they stand for.
    ///
    /// # Panics
    /// Never: the words were checked when they were read.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mnemonic =
            Mnemonic::parse_in_normalized(Language::English, &self.0).expect("checked when made");
        let seed = Zeroizing::new(mnemonic.to_seed_normalized(""));
        let mut root = Zeroizing::new([0; 32]);
        root.copy_from_slice(&seed[..32]);
        let recovery = derive(labels::RECOVERY_KEY, &seed[32..]);
        Identity {
            root: RootKey::from_seed(&root),
            recovery: RootKey::from_seed(&recovery),
        }
    }
}

/// The word of the list that is one slip of the finger away; the list has no two words that share their first four letters.
fn nearest(word: &str) -> Option<&'static str> {
    let list = Language::English.word_list();
    let stem = |w: &str| w.chars().take(4).collect::<String>();
    list.iter()
        .find(|w| word.len() >= 4 && stem(w) == stem(word))
        .or_else(|| list.iter().find(|w| one_edit(w, word)))
        .copied()
}

fn one_edit(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a[front..]
        .iter()
        .rev()
        .zip(b[front..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    a.len().max(b.len()) - front - back == 1 && a.len().abs_diff(b.len()) <= 1
}

/// What the words give.
pub struct Identity {
    /// Signs and receives; its public half is the node id.
    pub root: RootKey,
    /// Exists while words are on screen or typed in; only its public half is kept.
    pub recovery: RootKey,
}

/// An Ed25519 key pair that signs, and receives through its X25519 image.
#[derive(ZeroizeOnDrop)]
pub struct RootKey(SigningKey);

impl RootKey {
    /// The key of a 32-byte seed (RFC 8032, section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> RootKey {
        RootKey(SigningKey::from_bytes(seed))
    }

    /// The seed: what is sealed on disk, and what a TLS stack needs to sign with this key.
    #[must_use]
    pub fn seed(&self) -> Key32 {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from(self.0.verifying_key().to_bytes())
    }

    /// Signs the id of something under its context.
    #[must_use]
    pub fn sign(&self, context: &str, id: &[u8; 32]) -> [u8; SIGNATURE] {
        self.0.sign(&sign::message(context, id)).to_bytes()
    }

    /// The key that wraps the database key.
    #[must_use]
    pub fn local_kek(&self) -> Key32 {
        derive(labels::LOCAL_KEK, self.0.as_bytes())
    }

    /// The X25519 secret that belongs to [`x25519_public`] of the node id.
    #[must_use]
    pub fn x25519_secret(&self) -> Key32 {
        Zeroizing::new(self.0.to_scalar_bytes())
    }
}

/// The X25519 public key of a node: the birational image of its Ed25519 key. `None` when the id is not a key.
#[must_use]
pub fn x25519_public(node: &NodeId) -> Option<[u8; 32]> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(node.as_bytes()).ok()?;
    (!key.is_weak()).then(|| key.to_montgomery().to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_is_named_by_its_place_and_never_repeated() {
        let good = Words::from_entropy(&[7; 32]);
        let mut words: Vec<&str> = good.as_str().split(' ').collect();
        assert_eq!(words.len(), 24);
        words[4] = "abandn";
        let error = Words::parse(&words.join(" ")).err().unwrap();
        assert_eq!(
            error,
            WordsError::Unknown {
                position: 5,
                suggestion: Some("abandon")
            }
        );
        assert!(!error.to_string().contains("abandn"));
        words[4] = "qqqqq";
        assert_eq!(
            Words::parse(&words.join(" ")).err().unwrap(),
            WordsError::Unknown {
                position: 5,
                suggestion: None
            }
        );
        assert_eq!(Words::parse("abandon").err().unwrap(), WordsError::Count(1));
        assert_eq!(
            Words::parse(&["abandon"; 24].join(" ")).err().unwrap(),
            WordsError::Checksum
        );
    }

    #[test]
    fn words_are_read_however_they_were_typed() {
        let good = Words::from_entropy(&[9; 32]);
        let typed = format!(
            "\n {} \t",
            good.as_str().to_uppercase().replace(' ', "  \n")
        );
        assert_eq!(
            Words::parse(&typed)
                .unwrap_or_else(|e| panic!("{e}"))
                .as_str(),
            good.as_str()
        );
    }
}
