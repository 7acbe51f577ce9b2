//! Who is a member: grant, revoke, members.

use super::entry::{Entry, Inner};
use super::{VaultError, Vaults, now_ms, random, rows};
use crate::store::Batch;
use polykey_core::control::{Caveat, Control, ControlError, Member, Role, SignedOp, Target};
use polykey_core::epoch::EpochSecret;
use polykey_core::ids::{NodeId, OpId, VaultId};
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
    /// Nodes that it had brought in under its grant, and that went with it.
    pub with: Vec<NodeId>,
}

/// What a grant gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// As what.
    pub role: Role,
    /// How many other nodes of its gestalt it may bring in.
    pub siblings: u8,
    /// Unix seconds after which it ends.
    pub expires: Option<u64>,
    /// What a cluster may hand to its pods.
    pub caveat: Option<Caveat>,
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
    /// How many other nodes of its gestalt it may bring in.
    pub siblings: u8,
    /// The grant of the fellow node that brought it in.
    pub under: Option<OpId>,
}

/// The members of a vault.
#[derive(Clone, Debug)]
pub struct MemberList {
    /// Ascending by id.
    pub members: Vec<MemberInfo>,
    /// A reader left without an owner at hand, and an owner has yet to start a new epoch.
    pub rotation_pending: bool,
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
        let terms = Terms {
            role,
            siblings: 0,
            expires,
            caveat,
        };
        self.grant_on(vault, node, terms).await
    }

    /// As [`Vaults::grant`], with all that a grant can say.
    ///
    /// # Errors
    /// As [`Vaults::grant`].
    pub async fn grant_on(
        &self,
        vault: &VaultId,
        node: NodeId,
        terms: Terms,
    ) -> Result<Granted, VaultError> {
        let Terms {
            role,
            siblings,
            expires,
            caveat,
        } = terms;
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
        let wanted = (role, siblings, expires, caveat.clone());
        if let Some(same) = grants_of(&control, &node)
            .find(|g| (g.role, g.siblings, g.expires, g.caveat.clone()) == wanted)
        {
            return Ok(Granted {
                grant: same.id,
                unchanged: true,
            });
        }
        // Grants add up, so a narrower one beside a wider one would change nothing.
        let wider = grants_of(&control, &node)
            .any(|g| g.role >= role && g.expires.is_none() && g.caveat.is_none())
            && siblings == 0;
        if wider {
            return Err(VaultError::Wider);
        }
        let op = SignedOp::sign(
            control.grant(self.me, node, role, siblings, expires, caveat),
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
        let mut one_writer = entry.writing.clone().lock_owned().await;
        let control = entry.read().control.clone();
        // A member may leave by itself, and take a fellow node of its own gestalt out.
        if !control.are_fellows(&self.me, &Target::Node(node)) {
            self.need_role(&entry, Role::Owner)?;
        }
        if !control.state().members.contains_key(&node) {
            return Err(VaultError::NoSuch(format!("member {}", node.short())));
        }
        let rotate = self.readable_by(&entry, &control, &node)?;
        let owner = control.state().role_of(&self.me, now_ms() / 1_000) == Some(Role::Owner);
        if owner
            && control
                .state_without(&Target::Node(node))
                .owners()
                .is_empty()
        {
            return Err(ControlError::LastOwner.into());
        }
        // With the node go those that it brought in: a grant is to a whole gestalt.
        let mut with = Vec::new();
        for grant in grants_of(&control, &node).filter(|g| owner && g.siblings > 0) {
            let under = |m: &Member| m.grants.iter().any(|g| g.under == Some(grant.id));
            let members = control.state().members.iter();
            with.extend(members.filter(|(_, m)| under(m)).map(|(n, _)| *n));
            one_writer = self
                .remove(&entry, one_writer, Target::Grant(grant.id))
                .await?;
        }
        if entry.read().control.state().members.contains_key(&node) {
            self.remove(&entry, one_writer, Target::Node(node)).await?;
        }
        Ok(Revoked { rotate, with })
    }

    /// Writes one removal, with a new epoch when the target could read.
    pub(super) async fn remove(
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
        let now = now_ms() / 1_000;
        let owner = control.state().role_of(&self.me, now) == Some(Role::Owner);
        let record = if owner && control.needs_epoch(&target) {
            let readers = control.state_without(&target).readers(now);
            let before = secrets.before_the_next(&control, &self.me);
            Some(Self::next_epoch(
                vault, &before, &readers, &secrets, &secret, &self.me,
            )?)
        } else {
            None
        };
        let with_epoch = record.is_some();
        let op = SignedOp::sign(control.revoke(self.me, target, heads, record)?, &self.key);
        let at = control.len();
        control.apply(&op)?;
        let mut batch = Batch::default();
        rows::put_op(&mut batch, vault, at, op.bytes());
        // Who leaves keeps no key of what comes after.
        let stays = control.state().role_of(&self.me, now).is_some();
        let new = if with_epoch && stays {
            vec![secret]
        } else {
            Vec::new()
        };
        for secret in &new {
            rows::put_secret(&mut batch, vault, secret);
        }
        let mut floor = entry.read().floor();
        floor.control = control.heads();
        rows::put_floor(&mut batch, vault, &floor);
        let place = move |inner: &mut Inner| {
            inner.secrets = Arc::new(secrets.with(None, &new));
            inner.judge(&control);
            inner.control = Arc::new(control);
        };
        self.change(entry, one_writer, batch, place).await
    }

    /// Starts a new epoch.
    pub(super) async fn rotate(
        &self,
        entry: &Arc<Entry>,
        one_writer: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, VaultError> {
        let vault = &entry.id;
        let (mut control, secrets) = {
            let inner = entry.read();
            (Control::clone(&inner.control), inner.secrets.clone())
        };
        let secret = EpochSecret::new(random()?);
        let state = control.state();
        let readers = state.readers(now_ms() / 1_000);
        let before = secrets.before_the_next(&control, &self.me);
        let record = Self::next_epoch(vault, &before, &readers, &secrets, &secret, &self.me)?;
        let op = SignedOp::sign(control.rotate(self.me, record), &self.key);
        let at = control.len();
        control.apply(&op)?;
        let mut batch = Batch::default();
        rows::put_op(&mut batch, vault, at, op.bytes());
        rows::put_secret(&mut batch, vault, &secret);
        let mut floor = entry.read().floor();
        floor.control = control.heads();
        rows::put_floor(&mut batch, vault, &floor);
        let place = move |inner: &mut Inner| {
            inner.secrets = Arc::new(secrets.with(None, &[secret]));
            inner.control = Arc::new(control);
        };
        self.change(entry, one_writer, batch, place).await
    }

    /// The members, ascending by id. Grants add up: of several the one is told that reaches furthest.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn members(&self, vault: &VaultId) -> Result<MemberList, VaultError> {
        let entry = self.entry(vault)?;
        let inner = entry.read();
        let now = now_ms() / 1_000;
        let info = |(node, member): (&NodeId, &Member)| {
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
                siblings: grant.siblings,
                under: grant.under,
            })
        };
        let state = inner.control.state();
        Ok(MemberList {
            members: state.members.iter().filter_map(info).collect(),
            rotation_pending: state.rotation_pending,
        })
    }

    /// Paths that a member can read. Whoever reads holds the keys of the whole vault: a caveat limits what it may hand on, not what it knows.
    fn readable_by(
        &self,
        entry: &Entry,
        control: &Control,
        node: &NodeId,
    ) -> Result<Vec<String>, VaultError> {
        let reads = grants_of(control, node).any(|g| g.role >= Role::Reader);
        let Ok(Some(reading)) = self.reading(entry, None) else {
            return Ok(Vec::new());
        };
        if !reads {
            return Ok(Vec::new());
        }
        let objects = self.objects(entry);
        let contents = reading.view.open(&objects, &*reading.secrets, entry.id);
        let all = contents.range("")?;
        Ok(all.into_iter().map(|(path, _)| path).collect())
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
