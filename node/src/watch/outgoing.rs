//! A version on its way to a watcher: the frames of a `Snapshot` or a `Change`, made one after another while they are taken, so that a large vault costs a node one
//! part of it at a time.

use super::decision::Serving;
use crate::vaults::{ServedFile, ValueReader, VaultError, Vaults};
use minicbor::bytes::ByteVec;
use polykey_client::access::Rule;
use polykey_client::api::Secret;
use polykey_client::watch::{
    Body, Content, EpochKeys, File, Files, Frame, MAX_FRAME, PART_BYTES, Part, Sealed,
};
use polykey_core::ids::{Address, CommitId, EpochId, OpId, VaultId};
use polykey_core::tree::{self, Variant};
use polykey_core::view::View;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use zeroize::Zeroizing;

/// The most bytes of signed operations in one frame: what is left of it beside one part and the overhead of both.
const MAX_CONTROL: usize = MAX_FRAME - 2 * PART_BYTES;

/// Why a version cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The vault.
    #[error("cannot read the vault")]
    Vault(#[from] VaultError),
    /// The control log is longer than a frame.
    #[error("the vault's control log has {0} bytes, too many for a watch")]
    Control(usize),
}

/// What a watcher holds of one name, as far as this node knows.
pub struct Holds {
    /// The version.
    pub version: CommitId,
    /// Root of the sealed tree that it was sent; `None` when it was sent plain files.
    root: Option<Address>,
    /// What it may read of it: no paths for the whole vault.
    scope: Option<Vec<String>>,
    /// Identity of the rule under which it was sent.
    rule: String,
    /// Heads of the control log that it was sent.
    control: Vec<OpId>,
    /// Epochs whose keys it was sent.
    epochs: BTreeSet<EpochId>,
    /// Path, mode and [`identity`] of each plain file.
    files: BTreeMap<String, (u32, [u8; 32])>,
}

impl Holds {
    /// What a watcher holds that says it has the version that is served, from a watch before this one.
    pub fn from_before(
        vaults: &Vaults,
        rule: &Rule,
        serving: &Serving,
    ) -> Result<Holds, VaultError> {
        let scope = scope(serving);
        let (served, root) = (&serving.served, sealed_root(serving));
        let files = match root {
            Some(_) => BTreeMap::new(),
            None => vaults
                .files(&rule.vault, &served.view, scope.as_deref().unwrap_or(&[]))?
                .into_iter()
                .map(|f| (f.path, (f.variant.mode, identity(&f.variant))))
                .collect(),
        };
        Ok(Holds {
            version: served.version,
            root,
            scope,
            rule: rule.id.clone(),
            control: Vec::new(),
            epochs: BTreeSet::new(),
            files,
        })
    }

    /// True when nothing of this is different from what is served now.
    pub fn is_current(&self, rule: &Rule, serving: &Serving) -> bool {
        self.version == serving.served.version
            && self.rule == rule.id
            && self.scope == scope(serving)
    }
}

fn scope(serving: &Serving) -> Option<Vec<String>> {
    (!serving.allowed.whole_vault).then(|| serving.allowed.paths.clone())
}

/// Who may read the whole vault gets its sealed tree, when there is one: what several heads show together is in no tree that anybody signed, so it goes as plain files.
fn sealed_root(serving: &Serving) -> Option<Address> {
    serving.served.root.filter(|_| serving.allowed.whole_vault)
}

/// Tells values apart without reading them: that of a large one by its sealed object, of which equal ones within an epoch are one.
fn identity(variant: &Variant) -> [u8; 32] {
    let digest = match &variant.content {
        tree::Content::Inline(bytes) => ring::digest::digest(&ring::digest::SHA256, bytes),
        tree::Content::Blob(a) | tree::Content::List(a) => return *a.as_bytes(),
        tree::Content::Directory => ring::digest::digest(&ring::digest::SHA256, &[]),
    };
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// The frames of one version.
pub struct Outgoing {
    vault: VaultId,
    name: String,
    head: Option<Content>,
    whole: bool,
    rest: Rest,
    /// Epochs whose keys were sent, before or in these frames.
    epochs: BTreeSet<EpochId>,
    after: Holds,
    done: bool,
}

enum Rest {
    Objects(VecDeque<Address>),
    Files(Box<Plain>),
}

/// Plain files that are read when they are sent.
struct Plain {
    root: Address,
    files: VecDeque<ServedFile>,
    /// The rest of the file that was sent last.
    open: Option<(String, u32, ValueReader)>,
    removed: Vec<String>,
}

impl Outgoing {
    /// All of a version, or, for one who holds an earlier one in the same way, what changed since.
    pub fn new(
        vaults: &Vaults,
        rule: &Rule,
        serving: &Serving,
        holds: Option<&Holds>,
    ) -> Result<Outgoing, OutgoingError> {
        let scope = scope(serving);
        let root = sealed_root(serving);
        let before = holds.filter(|h| h.scope == scope && h.root.is_some() == root.is_some());
        let served = &serving.served;
        let mut after = Holds {
            version: served.version,
            root,
            scope: scope.clone(),
            rule: rule.id.clone(),
            control: served.control.heads(),
            epochs: BTreeSet::new(),
            files: BTreeMap::new(),
        };
        let rest = if let Some(root) = root {
            Rest::Objects(match before.and_then(|b| b.root) {
                Some(before) => vaults.change_of(&rule.vault, before, root)?.into(),
                None => vaults.pull(&rule.vault, &[], &served.version)?.into(),
            })
        } else {
            let paths = scope.as_deref().unwrap_or(&[]);
            files(vaults, rule, &served.view, paths, before, &mut after)?
        };
        Ok(Outgoing {
            vault: rule.vault,
            name: rule.name.clone(),
            head: Some(head(rule, serving, before)?),
            whole: before.is_none(),
            rest,
            epochs: before.map(|b| b.epochs.clone()).unwrap_or_default(),
            after,
            done: false,
        })
    }

    /// The next frame; `None` after the last.
    pub fn next(&mut self, vaults: &Vaults) -> Result<Option<Frame>, OutgoingError> {
        if self.done {
            return Ok(None);
        }
        let body = match &mut self.rest {
            Rest::Objects(addresses) => {
                Body::Sealed(sealed(vaults, &self.vault, addresses, &mut self.epochs)?)
            }
            Rest::Files(rest) => Body::Files(rest.part(vaults, &self.vault)?),
        };
        let more = match &self.rest {
            Rest::Objects(left) => !left.is_empty(),
            Rest::Files(rest) => !rest.is_empty(),
        };
        self.done = !more;
        Ok(Some(match self.head.take() {
            Some(content) => {
                let content = Content {
                    body,
                    more,
                    ..content
                };
                if self.whole {
                    Frame::Snapshot(content)
                } else {
                    Frame::Change(content)
                }
            }
            None => Frame::Part(Part {
                name: self.name.clone(),
                body,
                more,
            }),
        }))
    }

    /// What the watcher holds once it has all frames.
    pub fn sent(self) -> Holds {
        Holds {
            epochs: self.epochs,
            ..self.after
        }
    }
}

fn head(rule: &Rule, serving: &Serving, before: Option<&Holds>) -> Result<Content, OutgoingError> {
    let served = &serving.served;
    let known = before.map_or(&[][..], |b| &b.control);
    let control: Vec<ByteVec> = served
        .control
        .beyond(known)
        .into_iter()
        .map(|op| op.bytes().to_vec().into())
        .collect();
    let bytes = control.iter().map(|op| op.len() + 8).sum();
    if bytes > MAX_CONTROL {
        return Err(OutgoingError::Control(bytes));
    }
    let delivery = serde_json::to_vec(&rule.delivery).unwrap_or_else(|_| b"{}".to_vec());
    Ok(Content {
        rule: rule.id.clone(),
        name: rule.name.clone(),
        vault: rule.vault,
        version: served.version,
        signers: rule.signers.clone(),
        delivery: delivery.into(),
        control,
        commits: served.commits.iter().cloned().map(Into::into).collect(),
        body: Body::Files(Files {
            put: Vec::new(),
            removed: Vec::new(),
        }),
        more: false,
        pinned: rule.version.is_some(),
    })
}

/// About a part of objects, with the keys of every epoch that was not sent before.
fn sealed(
    vaults: &Vaults,
    vault: &VaultId,
    addresses: &mut VecDeque<Address>,
    epochs: &mut BTreeSet<EpochId>,
) -> Result<Sealed, OutgoingError> {
    let mut objects = Vec::new();
    let mut bytes = 0;
    while bytes < PART_BYTES {
        let Some(address) = addresses.pop_front() else {
            break;
        };
        let object = vaults
            .object(vault, &address)?
            .ok_or(VaultError::Row("less of a vault than its commit says"))?;
        bytes += object.len();
        objects.push(object);
    }
    let new: Vec<EpochId> = Vaults::epochs_of(&objects)?
        .into_iter()
        .filter(|e| epochs.insert(*e))
        .collect();
    let keys = vaults
        .object_keys(vault, new)?
        .iter()
        .map(|k| EpochKeys {
            epoch: k.epoch(),
            keys: Secret(Zeroizing::new(k.to_bytes().to_vec())),
        })
        .collect();
    Ok(Sealed {
        objects: objects.into_iter().map(ByteVec::from).collect(),
        keys,
    })
}

/// Plain files that differ from those that the watcher has, and paths that it has too many.
fn files(
    vaults: &Vaults,
    rule: &Rule,
    view: &View,
    paths: &[String],
    before: Option<&Holds>,
    after: &mut Holds,
) -> Result<Rest, OutgoingError> {
    let mut put = VecDeque::new();
    for file in vaults.files(&rule.vault, view, paths)? {
        let now = (file.variant.mode, identity(&file.variant));
        after.files.insert(file.path.clone(), now);
        if before.is_none_or(|b| b.files.get(&file.path) != Some(&now)) {
            put.push_back(file);
        }
    }
    let gone = before.into_iter().flat_map(|b| b.files.keys());
    let removed = gone
        .filter(|p| !after.files.contains_key(*p))
        .cloned()
        .collect();
    Ok(Rest::Files(Box::new(Plain {
        root: view.root(),
        files: put,
        open: None,
        removed,
    })))
}

impl Plain {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.removed.is_empty() && self.open.is_none()
    }

    /// About a part of them, and of paths that are no more.
    fn part(&mut self, vaults: &Vaults, vault: &VaultId) -> Result<Files, VaultError> {
        let mut part = Files {
            put: Vec::new(),
            removed: Vec::new(),
        };
        let mut bytes = 0;
        while bytes < PART_BYTES {
            if let Some(path) = self.removed.pop() {
                bytes += path.len() + 8;
                part.removed.push(path);
            } else if let Some(piece) = self.next_piece(vaults, vault)? {
                bytes += piece.path.len() + piece.value.0.len() + 32;
                part.put.push(piece);
            } else {
                break;
            }
        }
        Ok(part)
    }

    /// The next file, or the next piece of a large one.
    fn next_piece(&mut self, vaults: &Vaults, vault: &VaultId) -> Result<Option<File>, VaultError> {
        let (path, mode, mut reader) = if let Some(open) = self.open.take() {
            open
        } else if let Some(file) = self.files.pop_front() {
            let reader = vaults.open_variant(vault, self.root, &file.variant)?;
            (file.path, file.variant.mode, reader)
        } else {
            return Ok(None);
        };
        let value = reader.next_piece()?.unwrap_or_default();
        let left = reader.left();
        let piece = File {
            path: path.clone(),
            mode,
            value: Secret(value),
            rest: (left > 0).then_some(left),
        };
        if left > 0 {
            self.open = Some((path, mode, reader));
        }
        Ok(Some(piece))
    }
}
