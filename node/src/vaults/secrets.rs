//! The secrets of one vault: its shape key and the secrets of its epochs, found in the wraps to this node and in the boxes that chain epochs.

use super::VaultError;
use polykey_core::control::{Body, Control, Role, SignedOp};
use polykey_core::epoch::{self, EpochRecord, EpochSecret, Place, ShapeKey, WrapRecord};
use polykey_core::ids::{EpochId, NodeId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::seal::ObjectKeys;
use polykey_core::tree::Keyring;
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// The vault id that stands in the wraps of a Genesis, which is hashed before the vault has an id.
pub const NO_VAULT: [u8; 32] = [0; 32];

/// Of more epochs than this side by side only the join of all is made: 4 have 11 joins.
const MAX_SIDES: usize = 4;

/// What this node can open.
#[derive(Default)]
pub struct Secrets {
    shape: Option<ShapeKey>,
    epochs: BTreeMap<EpochId, (EpochSecret, ObjectKeys)>,
}

impl Keyring for Secrets {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        self.epochs.get(epoch).map(|(_, keys)| keys)
    }
}

impl Secrets {
    pub fn new(shape: Option<ShapeKey>, secrets: impl IntoIterator<Item = EpochSecret>) -> Secrets {
        let epochs = secrets
            .into_iter()
            .map(|s| {
                (
                    s.id(),
                    (
                        EpochSecret::new(Zeroizing::new(*s.expose())),
                        s.object_keys(),
                    ),
                )
            })
            .collect();
        Secrets { shape, epochs }
    }

    /// A copy with more secrets.
    pub fn with(&self, shape: Option<ShapeKey>, more: &[EpochSecret]) -> Secrets {
        let old = self.epochs.values().map(|(s, _)| copy(s));
        let shape = shape.or_else(|| {
            self.shape
                .as_ref()
                .map(|s| ShapeKey::new(Zeroizing::new(*s.expose())))
        });
        Secrets::new(shape, old.chain(more.iter().map(copy)))
    }

    pub fn shape(&self) -> Option<&ShapeKey> {
        self.shape.as_ref()
    }

    pub fn secret(&self, epoch: &EpochId) -> Option<&EpochSecret> {
        self.epochs.get(epoch).map(|(s, _)| s)
    }

    /// All epochs that live can be opened.
    pub fn complete(&self, control: &Control) -> bool {
        self.shape.is_some()
            && control
                .state()
                .epochs
                .iter()
                .all(|e| self.epochs.contains_key(e))
    }

    /// What new objects are sealed with: the one epoch that lives, or the join of all.
    pub fn writing(&self, control: &Control) -> Result<ObjectKeys, VaultError> {
        let secrets: Option<Vec<&EpochSecret>> = control
            .state()
            .epochs
            .iter()
            .map(|e| self.secret(e))
            .collect();
        match secrets.as_deref() {
            Some([one]) => Ok(one.object_keys()),
            Some(many) if !many.is_empty() => {
                let many: Vec<EpochSecret> = many
                    .iter()
                    .map(|s| EpochSecret::new(Zeroizing::new(*s.expose())))
                    .collect();
                Ok(epoch::join(&many).object_keys())
            }
            _ => Err(VaultError::Pending),
        }
    }

    /// The epochs that the next one opens: those that live. An owner can start one and give its key to nobody; then no other owner waits for that key, and what that epoch
    /// followed is taken in its place.
    pub fn before_the_next(&self, control: &Control, me: &NodeId) -> Vec<EpochId> {
        let withheld = |op: &SignedOp, record: &EpochRecord| {
            self.secret(&record.id()).is_none()
                && control.ever(&op.payload().parents, me, Role::Reader)
        };
        let follows = |later: &SignedOp, op: &SignedOp| {
            later.id() != op.id() && control.reaches(&[later.id().into()], &[op.id().into()])
        };
        let mut before = BTreeSet::new();
        for live in &control.state().epochs {
            let dark = control.epoch(live).filter(|(op, r)| withheld(op, r));
            let Some((dark, _)) = dark else {
                before.insert(*live);
                continue;
            };
            let past = || {
                let open = control.epochs().filter(|(op, r)| !withheld(op, r));
                open.filter(|(op, _)| follows(dark, op))
            };
            let newest = past().filter(|(op, _)| !past().any(|(later, _)| follows(later, op)));
            before.extend(newest.map(|(_, record)| record.id()));
        }
        before.into_iter().collect()
    }

    /// Secrets that the log, the wraps and the boxes give this node and that it does not have yet, with the shape key.
    ///
    /// A wrap that does not open, or holds another secret than the log commits to, is passed over: another may be right.
    pub fn found<'w>(
        &self,
        control: &Control,
        wraps: &(impl Iterator<Item = &'w WrapRecord> + Clone),
        key: &RootKey,
    ) -> (Option<ShapeKey>, Vec<EpochSecret>) {
        let (me, vault, commitment) = (key.node_id(), control.vault(), control.shape_commitment());
        let mut shape = None;
        let mut found: BTreeMap<EpochId, EpochSecret> = BTreeMap::new();
        let mut take = |place: Place<'_>, wrapped: &epoch::Wrapped| {
            if let Ok((s, secrets)) = epoch::unwrap(place, wrapped, key, &commitment) {
                shape = Some(s);
                found.extend(secrets.into_iter().map(|s| (s.id(), s)));
            }
        };
        for (op, record) in control.epochs() {
            let id = record.id();
            if self.epochs.contains_key(&id) {
                continue;
            }
            let genesis = matches!(op.payload().body(), Some(Body::Genesis { .. }));
            let named = if genesis {
                VaultId::from(NO_VAULT)
            } else {
                vault
            };
            let author = op.payload().author;
            for wrapped in record.wraps.iter().filter(|w| w.to == me) {
                take(
                    Place {
                        vault: &named,
                        epoch: &id,
                        to: &me,
                        from: &author,
                    },
                    wrapped,
                );
            }
            for wrap in wraps.clone().filter(|w| w.to == me && w.epoch == id) {
                take(
                    Place {
                        vault: &vault,
                        epoch: &id,
                        to: &me,
                        from: &wrap.from,
                    },
                    &wrap.wrapped(),
                );
            }
        }
        self.follow_boxes(control, &mut found);
        found.retain(|id, _| control.epoch(id).is_some());
        let joined = self.joined(control, &found);
        (shape, found.into_values().chain(joined).collect())
    }

    /// Secrets of epochs that lived side by side, joined: what was written meanwhile is sealed with them. The log has no record of a join, so all that can have been used are
    /// made.
    fn joined(
        &self,
        control: &Control,
        found: &BTreeMap<EpochId, EpochSecret>,
    ) -> Vec<EpochSecret> {
        let before = control
            .epochs()
            .map(|(_, record)| record.before.iter().map(|b| b.epoch).collect::<Vec<_>>());
        let sides: BTreeSet<Vec<EpochId>> = before
            .chain([control.state().epochs.clone()])
            .filter(|side| side.len() > 1)
            .flat_map(|side| subsets(&side))
            .collect();
        let joined = |side: Vec<EpochId>| {
            let secrets: Option<Vec<EpochSecret>> = side
                .iter()
                .map(|id| found.get(id).or_else(|| self.secret(id)).map(copy))
                .collect();
            secrets.map(|secrets| epoch::join(&secrets))
        };
        sides
            .into_iter()
            .filter_map(joined)
            .filter(|s| !self.epochs.contains_key(&s.id()))
            .collect()
    }

    /// Opens the boxes of every secret that is known, until nothing more comes out.
    fn follow_boxes(&self, control: &Control, found: &mut BTreeMap<EpochId, EpochSecret>) {
        let mut open: Vec<EpochId> = self.epochs.keys().chain(found.keys()).copied().collect();
        while let Some(id) = open.pop() {
            let Some((_, record)) = control.epoch(&id) else {
                continue;
            };
            for (index, boxed) in record.before.iter().enumerate() {
                if self.epochs.contains_key(&boxed.epoch) || found.contains_key(&boxed.epoch) {
                    continue;
                }
                let secret = found.get(&id).or_else(|| self.secret(&id));
                let opened = secret
                    .zip(u8::try_from(index).ok())
                    .and_then(|(s, at)| s.open_box(at, &boxed.epoch, &boxed.sealed).ok());
                if let Some(before) = opened {
                    open.push(boxed.epoch);
                    found.insert(boxed.epoch, before);
                }
            }
        }
    }
}

fn copy(secret: &EpochSecret) -> EpochSecret {
    EpochSecret::new(Zeroizing::new(*secret.expose()))
}

/// Two or more of these, in every choice.
fn subsets(side: &[EpochId]) -> Vec<Vec<EpochId>> {
    if side.len() > MAX_SIDES {
        return vec![side.to_vec()];
    }
    let choice = |mask: usize| {
        side.iter()
            .enumerate()
            .filter(|(at, _)| mask & (1 << at) != 0)
            .map(|(_, id)| *id)
            .collect::<Vec<_>>()
    };
    (0..1usize << side.len())
        .map(choice)
        .filter(|chosen| chosen.len() > 1)
        .collect()
}
