//! Who is a member: grant, revoke, members.

use super::entry::{Entry, Inner};
use super::secrets::Secrets;
use super::{VaultError, Vaults, now_ms, random, rows};
use crate::store::Batch;
use polykey_core::control::{Caveat, Control, Role, SignedOp, Target};
use polykey_core::epoch::{self, BOX, Boxed, EpochRecord, EpochSecret, Place, WrapRecord};
use polykey_core::ids::{EpochId, NodeId, OpId, VaultId};
use polykey_core::sign::Signed;
use polykey_core::tree::Tree;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// What a grant did.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// The operation.
    pub grant: OpId,
    /// The same grant was in force before: nothing was written.
    pub unchanged: bool,
}

/// What a removal did.
#[derive(Debug)]
pub struct Revoked {
    /// Secrets that the removed node could read: they should be rotated.
    pub rotate: Vec<String>,
}

/// One member.
#[derive(Clone, Debug)]
pub struct MemberInfo {
    /// The node.
    pub node: NodeId,
    /// What it may do.
    pub role: Role,
    /// Unix seconds after which it is none.
    pub expires: Option<u64>,
    /// What its owner lets it hand to pods.
    pub caveat: Option<Caveat>,
}

impl Vaults {
    /// Makes `node` a member and wraps the vault's keys for it. It need not be connected, or ever have been.
    ///
    /// # Errors
    /// `Role` when this node is no owner; `Wider` when the node has a role or a reach that this grant would not narrow.
    pub async fn grant(
        &self,
        vault: &VaultId,
        node: NodeId,
        role: Role,
        expires: Option<u64>,
        caveat: Option<Caveat>,
    ) -> Result<Granted, VaultError> {
        let entry = self.entry(vault)?;
        self.standing.past_is_here(vault).await;
        let one_writer = entry.writing.clone().lock_owned().await;
        self.need_role(&entry, Role::Owner)?;
        let (mut control, secrets, mut wraps) = {
            let inner = entry.read();
            (
                Control::clone(&inner.control),
                inner.secrets.clone(),
                Vec::new(),
            )
        };
        if control.needs_upgrade().is_some() {
            return Err(VaultError::NeedsUpgrade);
        }
        let wanted = (role, expires, caveat.clone());
        if let Some(same) =
            grants_of(&control, &node).find(|g| (g.role, g.expires, g.caveat.clone()) == wanted)
        {
            return Ok(Granted {
                grant: same.id,
                unchanged: true,
            });
        }
        // Grants add up, so a narrower one beside a wider one would change nothing.
        let wider = grants_of(&control, &node)
            .any(|g| g.role >= role && g.expires.is_none() && g.caveat.is_none());
        if wider {
            return Err(VaultError::Wider);
        }
        let op = SignedOp::sign(
            control.grant(self.me, node, role, 0, expires, caveat),
            &self.key,
        );
        let at = control.len();
        control.apply(&op)?;
        if role >= Role::Reader {
            for live in &control.state().epochs {
                wraps.push(self.wrap_for(&secrets, vault, live, &node)?);
            }
        }
        let mut batch = Batch::default();
        rows::put_op(&mut batch, vault, at, op.bytes());
        for wrap in &wraps {
            rows::put_wrap(&mut batch, wrap.payload(), wrap.bytes());
        }
        let mut floor = entry.read().floor();
        floor.control = control.heads();
        rows::put_floor(&mut batch, vault, &floor);
        let place = move |inner: &mut Inner| {
            inner.control = Arc::new(control);
            inner.wraps.extend(
                wraps
                    .into_iter()
                    .map(|wrap| (rows::wrap_key(wrap.payload()), Arc::new(wrap))),
            );
        };
        self.change(&entry, one_writer, batch, place).await?;
        Ok(Granted {
            grant: OpId::from(op.id()),
            unchanged: false,
        })
    }

    /// Removes a member. When it could read, a new epoch begins in the same operation: what is sealed from now on it cannot open.
    ///
    /// # Errors
    /// `Role` when this node is no owner, `NoSuch` when the node is no member, `Control` when it is the last owner.
    pub async fn revoke(&self, vault: &VaultId, node: NodeId) -> Result<Revoked, VaultError> {
        let entry = self.entry(vault)?;
        self.standing.past_is_here(vault).await;
        let one_writer = entry.writing.clone().lock_owned().await;
        self.need_role(&entry, Role::Owner)?;
        let control = entry.read().control.clone();
        if !control.state().members.contains_key(&node) {
            return Err(VaultError::NoSuch(format!("member {}", node.short())));
        }
        let rotate = self.readable_by(&entry, &control, &node)?;
        self.remove(&entry, one_writer, Target::Node(node)).await?;
        Ok(Revoked { rotate })
    }

    /// Removes every grant that has ended by this node's clock, in the vaults that it owns: then all members come to one state.
    ///
    /// # Errors
    /// The last failure; every vault was tried.
    pub async fn end_expired(&self) -> Result<(), VaultError> {
        if self.may_write().is_err() {
            return Ok(());
        }
        let now = now_ms() / 1_000;
        let mut result = Ok(());
        for entry in self.all() {
            let mut one_writer = entry.writing.clone().lock_owned().await;
            let control = entry.read().control.clone();
            if control.state().role_of(&self.me, now) != Some(Role::Owner)
                || control.needs_upgrade().is_some()
            {
                continue;
            }
            let ended: Vec<OpId> = control
                .state()
                .members
                .values()
                .flat_map(|m| &m.grants)
                .filter(|g| !g.holds(now))
                .map(|g| g.id)
                .collect();
            for grant in ended {
                match self.remove(&entry, one_writer, Target::Grant(grant)).await {
                    Ok(again) => one_writer = again,
                    Err(e) => {
                        result = Err(e);
                        break;
                    }
                }
                tracing::info!(vault = %entry.id.short(), grant = %grant.short(), "a grant has expired and was removed");
            }
        }
        result
    }

    /// Writes one removal, with a new epoch when the target could read.
    async fn remove(
        &self,
        entry: &Arc<Entry>,
        one_writer: OwnedMutexGuard<()>,
        target: Target,
    ) -> Result<OwnedMutexGuard<()>, VaultError> {
        let vault = &entry.id;
        let (mut control, secrets, heads) = {
            let inner = entry.read();
            (
                Control::clone(&inner.control),
                inner.secrets.clone(),
                inner.heads.clone(),
            )
        };
        let secret = EpochSecret::new(random()?);
        let record = if control.needs_epoch(&target) {
            Some(self.next_epoch(&control, &secrets, &secret, &target)?)
        } else {
            None
        };
        let with_epoch = record.is_some();
        let op = SignedOp::sign(control.revoke(self.me, target, heads, record)?, &self.key);
        let at = control.len();
        control.apply(&op)?;
        let mut batch = Batch::default();
        rows::put_op(&mut batch, vault, at, op.bytes());
        let new = if with_epoch { vec![secret] } else { Vec::new() };
        for secret in &new {
            rows::put_secret(&mut batch, vault, secret);
        }
        let mut floor = entry.read().floor();
        floor.control = control.heads();
        rows::put_floor(&mut batch, vault, &floor);
        let place = move |inner: &mut Inner| {
            inner.secrets = Arc::new(secrets.with(None, &new));
            inner.commits.judge(&control);
            inner.heads = inner.commits.heads();
            inner.control = Arc::new(control);
        };
        self.change(entry, one_writer, batch, place).await
    }

    /// The secret of a live epoch in an envelope for a member who came after it.
    fn wrap_for(
        &self,
        secrets: &Secrets,
        vault: &VaultId,
        epoch: &EpochId,
        to: &NodeId,
    ) -> Result<Signed<WrapRecord>, VaultError> {
        let secret = secrets.secret(epoch).ok_or(VaultError::Pending)?;
        let shape = secrets.shape().ok_or(VaultError::Pending)?;
        let place = Place {
            vault,
            epoch,
            to,
            from: &self.me,
        };
        let wrapped = epoch::wrap(place, shape, &[secret], &random()?)?;
        let record = WrapRecord {
            version: 1,
            vault: *vault,
            epoch: *epoch,
            to: *to,
            from: self.me,
            enc: wrapped.enc,
            sealed: wrapped.sealed,
        };
        Ok(Signed::sign(record, &self.key))
    }

    /// Envelopes that are missing: a member who was granted beside a rotation is in neither. Owners make them.
    pub(super) fn missing_wraps<'w>(
        &self,
        control: &Control,
        secrets: &Secrets,
        wraps: &(impl Iterator<Item = &'w WrapRecord> + Clone),
    ) -> Result<Vec<Signed<WrapRecord>>, VaultError> {
        let now = now_ms() / 1_000;
        let mut made = Vec::new();
        if control.state().role_of(&self.me, now) != Some(Role::Owner)
            || !secrets.complete(control)
            || self.may_write().is_err()
        {
            return Ok(made);
        }
        for live in &control.state().epochs {
            let Some((_, record)) = control.epoch(live) else {
                continue;
            };
            for member in control.state().readers(now) {
                let has = record.wraps.iter().any(|w| w.to == member)
                    || wraps.clone().any(|w| w.epoch == *live && w.to == member);
                if !has {
                    made.push(self.wrap_for(secrets, &control.vault(), live, &member)?);
                }
            }
        }
        Ok(made)
    }

    /// The members, ascending by id. Grants add up: of several the one is told that reaches furthest.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn members(&self, vault: &VaultId) -> Result<Vec<MemberInfo>, VaultError> {
        let entry = self.entry(vault)?;
        let inner = entry.read();
        let now = now_ms() / 1_000;
        let info = |(node, member): (&NodeId, &polykey_core::control::Member)| {
            let grant = member
                .grants
                .iter()
                .filter(|g| g.holds(now))
                .max_by_key(|g| (g.role, g.caveat.is_none(), g.expires.is_none(), g.expires))?;
            Some(MemberInfo {
                node: *node,
                role: grant.role,
                expires: grant.expires,
                caveat: grant.caveat.clone(),
            })
        };
        Ok(inner
            .control
            .state()
            .members
            .iter()
            .filter_map(info)
            .collect())
    }

    /// Paths that a member can read. Whoever reads holds the keys of the whole vault: a caveat limits what it may hand on, not what it knows.
    fn readable_by(
        &self,
        entry: &Entry,
        control: &Control,
        node: &NodeId,
    ) -> Result<Vec<String>, VaultError> {
        let reads = grants_of(control, node).any(|g| g.role >= Role::Reader);
        let Ok(Some(reading)) = Self::reading(entry, None) else {
            return Ok(Vec::new());
        };
        if !reads {
            return Ok(Vec::new());
        }
        let objects = self.objects(entry);
        let all = Tree::new(&objects, &*reading.secrets, entry.id, reading.root).range("")?;
        Ok(all.into_iter().map(|(path, _)| path).collect())
    }

    /// The epoch that follows all that live, with its envelopes for whoever stays.
    fn next_epoch(
        &self,
        control: &Control,
        secrets: &super::secrets::Secrets,
        secret: &EpochSecret,
        target: &Target,
    ) -> Result<EpochRecord, VaultError> {
        let shape = secrets.shape().ok_or(VaultError::Pending)?;
        let mut before = Vec::new();
        for (index, live) in control.state().epochs.iter().enumerate() {
            let old = secrets.secret(live).ok_or(VaultError::Pending)?;
            let index =
                u8::try_from(index).map_err(|_| VaultError::Row("more epochs than boxes"))?;
            let sealed: [u8; BOX] = secret.box_before(index, old);
            before.push(Boxed {
                epoch: *live,
                sealed: sealed.into(),
            });
        }
        let (vault, id) = (control.vault(), secret.id());
        let mut wraps = Vec::new();
        for to in control.state_without(target).readers(now_ms() / 1_000) {
            let place = Place {
                vault: &vault,
                epoch: &id,
                to: &to,
                from: &self.me,
            };
            wraps.push(epoch::wrap(place, shape, &[secret], &random()?)?);
        }
        Ok(EpochRecord {
            commitment: secret.commitment().into(),
            before,
            wraps,
        })
    }
}

fn grants_of<'a>(
    control: &'a Control,
    node: &NodeId,
) -> impl Iterator<Item = &'a polykey_core::control::Grant> {
    control
        .state()
        .members
        .get(node)
        .map_or(&[][..], |m| &m.grants)
        .iter()
}
