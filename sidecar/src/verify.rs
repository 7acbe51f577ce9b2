//! Is a version what it claims to be? Pure: what a node sent, what this pod holds and trusts, and the time, in; files or a refusal out.
//!
//! Always: the vault's id is the hash of its first operation, every operation follows from it, the commit is signed by a live writer of that log (and one of `signers`, when the
//! rule has some), and no version is older than one that was seen. With sealed objects also every file, up to the signed root: `provenance: content`. With plain files the contents
//! are the node's word: `provenance: commit`.

use crate::files::{Entry, Source};
use crate::floor::Floor;
use polykey_client::watch::{Body, Content, File, Files, Part, Sealed};
use polykey_core::commit::{CommitError, MAX_AHEAD_MS, SignedCommit, vouch_alone};
use polykey_core::control::{Control, ControlError, SignedOp};
use polykey_core::ids::{Address, CommitId, EpochId, NodeId, Tag, VaultId};
use polykey_core::seal::{self, ObjectKeys};
use polykey_core::tree::{self, Keyring, Objects, Tree, TreeError, Variant};
use polykey_core::view;
use std::collections::{BTreeMap, HashMap};
use zeroize::Zeroizing;

/// The most bytes of one version while it arrives: twice the memory volume's default size, past which it could not be written anyway.
const MAX_VERSION: usize = 128 << 20;

/// What this pod trusts for one name.
pub struct Anchor {
    /// The vault, from the annotations or from the first version that was written. `None`: trust on first use.
    pub pin: Option<VaultId>,
    /// The newest version that was written.
    pub floor: Option<Floor>,
}

/// Why a version is refused.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// A frame that continues nothing.
    #[error("a frame that continues no version")]
    NothingArriving,
    /// A continuation of another kind than what it continues.
    #[error("a version of two kinds at once")]
    Mixed,
    /// A file in pieces whose next piece is not the one that follows.
    #[error("a file whose pieces do not fit together")]
    Pieces,
    /// Over [`MAX_VERSION`].
    #[error("a version of more than {MAX_VERSION} bytes")]
    TooLarge,
    /// Another vault than the pinned one.
    #[error("vault {found} is not the pinned one")]
    WrongVault {
        /// What was sent.
        found: VaultId,
    },
    /// The control log does not begin with the operation that the vault's id names, or an operation does not follow.
    #[error("the vault's control log does not verify")]
    Control(#[source] ControlError),
    /// Signed bytes that are malformed.
    #[error("malformed signed bytes")]
    Signed(#[from] polykey_core::sign::SignError),
    /// A change before anything is held, or none at all.
    #[error("a change that builds on nothing")]
    Incomplete,
    /// The commit is not one that its author could make.
    #[error("the version does not verify")]
    Commit(#[source] CommitError),
    /// The commit is another than the version that it was sent for.
    #[error("the version is not the signed one")]
    NotTheVersion,
    /// The author is none of the rule's signers.
    #[error("the version is by {0}, who is none of the signers")]
    Signer(NodeId),
    /// Dated too far ahead.
    #[error("the version is dated in the future")]
    Future,
    /// Older than one that was seen.
    #[error("the version is older than one that was seen")]
    Older,
    /// The contents do not open up to the signed root.
    #[error("the contents do not verify")]
    Contents(#[from] TreeError),
    /// Object keys of a wrong length.
    #[error("malformed object keys")]
    Keys,
}

impl Rejected {
    /// The frozen reason that the pod's admin sees.
    pub fn reason(&self) -> &'static str {
        match self {
            Rejected::Signer(_) => "SignerNotListed",
            _ => "SignatureInvalid",
        }
    }
}

/// A version that arrives in parts.
pub struct Arriving {
    content: Content,
    whole: bool,
    bytes: usize,
}

impl Arriving {
    /// The first part: all of a version (`whole`), or what changed since the held one.
    ///
    /// # Errors
    /// When the pieces of a file do not fit together.
    pub fn new(mut content: Content, whole: bool) -> Result<Arriving, Rejected> {
        let bytes = size(&content.body);
        if let Body::Files(files) = &mut content.body {
            let put = std::mem::take(&mut files.put);
            join(&mut files.put, put)?;
        }
        let arriving = Arriving {
            content,
            whole,
            bytes,
        };
        arriving.check_end()?;
        Ok(arriving)
    }

    /// Nothing is missing.
    pub fn complete(&self) -> bool {
        !self.content.more
    }

    /// Adds a part.
    ///
    /// # Errors
    /// When it continues nothing, is of another kind, or makes the version too large.
    pub fn push(&mut self, part: Part) -> Result<(), Rejected> {
        if self.complete() {
            return Err(Rejected::NothingArriving);
        }
        self.bytes += size(&part.body);
        if self.bytes > MAX_VERSION {
            return Err(Rejected::TooLarge);
        }
        match (&mut self.content.body, part.body) {
            (Body::Sealed(all), Body::Sealed(more)) => {
                all.objects.extend(more.objects);
                all.keys.extend(more.keys);
            }
            (Body::Files(all), Body::Files(more)) => {
                join(&mut all.put, more.put)?;
                all.removed.extend(more.removed);
            }
            _ => return Err(Rejected::Mixed),
        }
        self.content.more = part.more;
        self.check_end()
    }

    /// The last file of a version has no piece to come.
    fn check_end(&self) -> Result<(), Rejected> {
        match &self.content.body {
            Body::Files(files) if self.complete() && goes_on(&files.put) => Err(Rejected::Pieces),
            _ => Ok(()),
        }
    }
}

fn goes_on(files: &[File]) -> bool {
    files.last().is_some_and(|f| f.rest.is_some())
}

/// Adds files behind those that are here; a piece of a large one goes on with the last.
fn join(all: &mut Vec<File>, more: Vec<File>) -> Result<(), Rejected> {
    for mut piece in more {
        let went_on = goes_on(all);
        match all.last_mut().filter(|_| went_on) {
            None => {
                // All of it at once, so that no copy of a part stays behind.
                let rest = usize::try_from(piece.rest.unwrap_or(0)).unwrap_or(usize::MAX);
                let whole = piece.value.0.len().saturating_add(rest);
                if whole > MAX_VERSION {
                    return Err(Rejected::TooLarge);
                }
                if rest > 0 {
                    let mut value = Zeroizing::new(Vec::with_capacity(whole));
                    value.extend_from_slice(&piece.value.0);
                    piece.value.0 = value;
                }
                all.push(piece);
            }
            Some(last) => {
                let follows = (piece.value.0.len() as u64).saturating_add(piece.rest.unwrap_or(0));
                let fits = last.path == piece.path
                    && last.mode == piece.mode
                    && !piece.value.0.is_empty()
                    && last.rest == Some(follows);
                if !fits {
                    return Err(Rejected::Pieces);
                }
                last.value.0.extend_from_slice(&piece.value.0);
                last.rest = piece.rest;
            }
        }
    }
    Ok(())
}

fn size(body: &Body) -> usize {
    match body {
        Body::Sealed(s) => s.objects.iter().map(|o| o.len()).sum(),
        Body::Files(f) => f.put.iter().map(|f| f.value.0.len() + f.path.len()).sum(),
    }
}

/// What is held of a verified version, to verify the next one against.
pub struct Held {
    control: Control,
    version: CommitId,
    /// The commits that the version is, ascending.
    heads: Vec<CommitId>,
    time_ms: u64,
    contents: Contents,
}

/// What is held of the contents.
enum Contents {
    Sealed {
        pages: HashMap<Address, Vec<u8>>,
        keys: Ring,
        entries: BTreeMap<String, Known>,
    },
    Files(BTreeMap<String, u32>),
}

/// Enough of a file to know whether the next version changes it.
#[derive(PartialEq, Eq)]
struct Known {
    tag: Tag,
    mode: u32,
    /// Address of the value's object, or hash of an inline value: a tag alone is only its author's word.
    content: Address,
}

impl Held {
    /// The version.
    pub fn version(&self) -> CommitId {
        self.version
    }

    /// The commits that the version is, ascending.
    pub fn heads(&self) -> &[CommitId] {
        &self.heads
    }

    /// What must never be gone below.
    pub fn floor(&self) -> Floor {
        Floor {
            vault: self.control.vault(),
            version: self.version,
            time_ms: self.time_ms,
            heads: if self.heads.len() > 1 {
                self.heads.clone()
            } else {
                Vec::new()
            },
        }
    }

    /// How far the contents are proven.
    pub fn provenance(&self) -> &'static str {
        match self.contents {
            Contents::Sealed { .. } => "content",
            Contents::Files(_) => "commit",
        }
    }
}

/// Verifies a version. Gives what to hold of it and every entry that its files have; an entry that the held version has too is `Unchanged`.
///
/// # Errors
/// When anything does not verify. What was held stays right then.
pub fn verify(
    held: Option<&Held>,
    anchor: &Anchor,
    arriving: Arriving,
    now_ms: u64,
) -> Result<(Held, BTreeMap<String, Entry>), Rejected> {
    let Arriving { content, whole, .. } = arriving;
    let before = if whole {
        None
    } else {
        Some(held.ok_or(Rejected::Incomplete)?)
    };
    let control = control(before.map(|h| &h.control), anchor, &content)?;
    let Shown {
        heads,
        root,
        time_ms,
    } = signed(&control, anchor, &content, now_ms)?;
    let (contents, entries) = match content.body {
        Body::Sealed(sealed) => open(&control, root.ok_or(Rejected::Mixed)?, before, sealed)?,
        Body::Files(files) => plain(before, files)?,
    };
    Ok((
        Held {
            control,
            version: content.version,
            heads,
            time_ms,
            contents,
        },
        entries,
    ))
}

/// The control log: from its first operation, whose hash is the vault's id, or on from the held one.
fn control(
    before: Option<&Control>,
    anchor: &Anchor,
    content: &Content,
) -> Result<Control, Rejected> {
    let pinned = anchor.pin.or(anchor.floor.as_ref().map(|f| f.vault));
    if pinned.is_some_and(|pin| pin != content.vault) {
        return Err(Rejected::WrongVault {
            found: content.vault,
        });
    }
    let mut ops = content.control.iter().map(|bytes| SignedOp::parse(bytes));
    let mut control = match before {
        Some(control) => control.clone(),
        None => {
            Control::new(&ops.next().ok_or(Rejected::Incomplete)??).map_err(Rejected::Control)?
        }
    };
    if control.vault() != content.vault {
        return Err(Rejected::WrongVault {
            found: control.vault(),
        });
    }
    for op in ops {
        match control.apply(&op?) {
            // What does not count is not needed to judge a commit that does.
            Ok(_) | Err(ControlError::TooManyVoid(_)) => {}
            Err(e) => return Err(Rejected::Control(e)),
        }
    }
    match control.needs_upgrade() {
        Some(op) => Err(Rejected::Control(ControlError::NeedsUpgrade(op))),
        None => Ok(control),
    }
}

/// What the commits of a version say.
struct Shown {
    /// Ascending.
    heads: Vec<CommitId>,
    /// The tree, when the version is one commit.
    root: Option<Address>,
    /// The newest's.
    time_ms: u64,
}

/// The commits: together the version, each by a live writer and an admitted signer, and no older than seen.
fn signed(
    control: &Control,
    anchor: &Anchor,
    content: &Content,
    now_ms: u64,
) -> Result<Shown, Rejected> {
    let (mut heads, mut time_ms, mut roots) = (Vec::new(), 0, Vec::new());
    for bytes in &content.commits {
        let signed = SignedCommit::parse(bytes)?;
        vouch_alone(&signed, control).map_err(Rejected::Commit)?;
        let commit = signed.payload();
        if !content.signers.is_empty() && !content.signers.contains(&commit.author) {
            return Err(Rejected::Signer(commit.author));
        }
        if commit.time_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(Rejected::Future);
        }
        heads.push(CommitId::from(signed.id()));
        time_ms = time_ms.max(commit.time_ms);
        roots.push(commit.root);
    }
    heads.sort_unstable();
    heads.dedup();
    let version = view::version(&heads).ok_or(Rejected::Incomplete)?;
    if version != content.version || heads.len() != roots.len() {
        return Err(Rejected::NotTheVersion);
    }
    let older = anchor
        .floor
        .as_ref()
        .is_some_and(|floor| is_older(&heads, version, time_ms, floor));
    // A pinned version is the one exception to "never back"; it goes back to what was signed, and the floor stays where it was.
    if older && !content.pinned {
        return Err(Rejected::Older);
    }
    let root = match roots.as_slice() {
        [one] => Some(*one),
        _ => None,
    };
    Ok(Shown {
        heads,
        root,
        time_ms,
    })
}

/// Later versions have later dates, but for heads that come to stand beside one that is as new as before: those are seen by that none of what was seen is missing.
fn is_older(heads: &[CommitId], version: CommitId, time_ms: u64, floor: &Floor) -> bool {
    if time_ms != floor.time_ms || version == floor.version {
        return time_ms < floor.time_ms;
    }
    let seen = if floor.heads.is_empty() {
        std::slice::from_ref(&floor.version)
    } else {
        &floor.heads
    };
    if heads.len() == 1 && seen.len() == 1 {
        return version < floor.version;
    }
    !seen.iter().all(|head| heads.contains(head))
}

/// Objects that arrived and those that are held.
struct Both<'a>(
    &'a HashMap<Address, Vec<u8>>,
    Option<&'a HashMap<Address, Vec<u8>>>,
);

impl Objects for Both<'_> {
    fn object(
        &self,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self
            .0
            .get(address)
            .or_else(|| self.1?.get(address))
            .cloned())
    }
}

/// Keys by epoch.
#[derive(Default)]
struct Ring(HashMap<EpochId, ObjectKeys>);

impl Keyring for Ring {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        self.0.get(epoch)
    }
}

/// Opens sealed contents up to the signed root.
fn open(
    control: &Control,
    root: Address,
    before: Option<&Held>,
    sealed: Sealed,
) -> Result<(Contents, BTreeMap<String, Entry>), Rejected> {
    let held = before.and_then(|h| match &h.contents {
        Contents::Sealed {
            pages,
            keys,
            entries,
        } => Some((pages, keys, entries)),
        Contents::Files(_) => None,
    });
    let mut ring = Ring::default();
    for (epoch, keys) in held.iter().flat_map(|(_, ring, _)| &ring.0) {
        ring.0.insert(
            *epoch,
            ObjectKeys::from_bytes(*epoch, &keys.to_bytes()).ok_or(Rejected::Keys)?,
        );
    }
    for keys in &sealed.keys {
        ring.0.insert(
            keys.epoch,
            ObjectKeys::from_bytes(keys.epoch, &keys.keys.0).ok_or(Rejected::Keys)?,
        );
    }
    let arrived: HashMap<Address, Vec<u8>> = sealed
        .objects
        .into_iter()
        .map(|o| (seal::address(&o), Vec::from(o)))
        .collect();
    let objects = Both(&arrived, held.map(|(pages, ..)| pages));
    let tree = Tree::new(&objects, &ring, control.vault(), root);
    let mut entries = BTreeMap::new();
    let mut known = BTreeMap::new();
    for (path, variants) in tree.range("")? {
        let Some(variant) = newest(&variants) else {
            continue;
        };
        let now = Known {
            tag: variant.tag,
            mode: variant.mode,
            content: content(variant),
        };
        let unchanged = held.is_some_and(|(.., entries)| entries.get(&path) == Some(&now));
        let source = if path.ends_with('/') {
            Source::Directory
        } else if unchanged {
            Source::Unchanged
        } else {
            Source::Bytes(tree.read(variant)?)
        };
        entries.insert(
            path.clone(),
            Entry {
                mode: variant.mode,
                source,
            },
        );
        known.insert(path, now);
    }
    let pages = pages(&objects, root)?;
    Ok((
        Contents::Sealed {
            pages,
            keys: ring,
            entries: known,
        },
        entries,
    ))
}

fn content(variant: &Variant) -> Address {
    match &variant.content {
        tree::Content::Inline(bytes) => seal::address(bytes),
        tree::Content::Blob(address) | tree::Content::List(address) => *address,
        tree::Content::Directory => seal::address(&[]),
    }
}

/// The value that is shown of several: that with the highest tag, the same on every pod.
fn newest(variants: &[Variant]) -> Option<&Variant> {
    variants.iter().max_by_key(|v| v.tag)
}

/// The pages of a tree: kept in memory, so that the next version needs only what it changes. Values are in the files.
fn pages(objects: &Both<'_>, root: Address) -> Result<HashMap<Address, Vec<u8>>, Rejected> {
    let mut kept = HashMap::new();
    let mut open = vec![root];
    while let Some(address) = open.pop() {
        let bytes = objects
            .object(&address)
            .map_err(|e| TreeError::Store(address, e))?;
        let Some(bytes) = bytes else { continue };
        let header = seal::header(&bytes).map_err(|e| TreeError::Seal(address, e))?;
        if header.kind == seal::Kind::Page {
            open.extend(header.refs);
            kept.insert(address, bytes);
        }
    }
    Ok(kept)
}

/// Takes plain files as they are.
fn plain(
    before: Option<&Held>,
    files: Files,
) -> Result<(Contents, BTreeMap<String, Entry>), Rejected> {
    let mut known: BTreeMap<String, u32> = match before.map(|h| &h.contents) {
        None => BTreeMap::new(),
        Some(Contents::Files(known)) => known.clone(),
        Some(Contents::Sealed { .. }) => return Err(Rejected::Mixed),
    };
    for path in &files.removed {
        known.remove(path);
    }
    let mut entries: BTreeMap<String, Entry> = known
        .iter()
        .map(|(p, mode)| {
            (
                p.clone(),
                Entry {
                    mode: *mode,
                    source: Source::Unchanged,
                },
            )
        })
        .collect();
    for file in files.put {
        polykey_core::path::check_key(&file.path).map_err(TreeError::Path)?;
        let mode = file.mode & 0o777;
        let source = if file.path.ends_with('/') {
            Source::Directory
        } else {
            Source::Bytes(file.value.0)
        };
        known.insert(file.path.clone(), mode);
        entries.insert(file.path, Entry { mode, source });
    }
    Ok((Contents::Files(known), entries))
}

#[cfg(test)]
mod tests;
