//! What the pure core costs: the bytes that one changed secret sends to a peer, a control log of a thousand operations, and what many heads show together.

use crate::clone::{noise, path};
use crate::figures::{Samples, millis, ratio};
use anyhow::{Context, Result};
use polykey_core::commit::{Commits, SignedCommit};
use polykey_core::control::{self, Control, Role, SignedOp, Target};
use polykey_core::epoch::{self, EpochRecord, EpochSecret, Place, ShapeKey};
use polykey_core::ids::{Address, CommitId, EpochId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::seal::ObjectKeys;
use polykey_core::tree::{self, Edit, Keyring, Objects, Tree};
use polykey_core::view::View;
use polykey_core::wire::{self, Announce, MAX_INLINE, SyncFrame};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Changes that are measured in each vault.
const CHANGES: usize = 500;
/// Bytes of a value.
const VALUE: usize = 48;
/// Operations of the log.
const OPS: usize = 1_000;
/// Secrets of the vault that many write at once.
const SHARED: usize = 10_000;
/// Secrets that each of them changes.
const EACH: usize = 10;
/// How often a view is made.
const VIEWS: usize = 50;
const NOW: u64 = 1_800_000_000_000;

#[derive(Default)]
struct Memory(HashMap<Address, Vec<u8>>);

impl Objects for Memory {
    fn object(&self, address: &Address) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.get(address).cloned())
    }
}

struct One(ObjectKeys);

impl Keyring for One {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        (*epoch == self.0.epoch()).then_some(&self.0)
    }
}

/// An owner with a new vault.
struct Owner {
    key: RootKey,
    control: Control,
    secret: EpochSecret,
    shape: ShapeKey,
}

impl Owner {
    fn new() -> Result<Owner> {
        let key = RootKey::from_seed(&[1; 32]);
        let secret = EpochSecret::new(Zeroizing::new([2; 32]));
        let shape = ShapeKey::new(Zeroizing::new([3; 32]));
        let me = key.node_id();
        let place = Place {
            vault: &VaultId::from([0; 32]),
            epoch: &secret.id(),
            to: &me,
            from: &me,
        };
        let wrapped = epoch::wrap(place, &shape, &[&secret], &Zeroizing::new([4; 32]))?;
        let record = EpochRecord {
            commitment: secret.commitment().into(),
            before: Vec::new(),
            wraps: vec![wrapped],
        };
        let op = control::genesis(me, [5; 32], shape.commitment(), None, record);
        Ok(Owner {
            control: Control::new(&SignedOp::sign(op, &key))?,
            key,
            secret,
            shape,
        })
    }
}

/// Measures and prints what a changed secret sends.
pub fn pull() -> Result<()> {
    println!("\npull: the announcement of one changed secret of {VALUE} bytes, with its objects");
    for secrets in [100, 1_000, 10_000, 100_000] {
        let mut bytes = changes(secrets)?;
        bytes.sort_unstable();
        let at = |percent: usize| bytes[(bytes.len() * percent).div_ceil(100) - 1];
        let inline = bytes.iter().filter(|b| **b <= MAX_INLINE).count();
        println!(
            "  {secrets:6} secrets   p50 {} bytes   p99 {}   most {}   {} of {} need no round trip of their own",
            at(50),
            at(99),
            at(100),
            inline,
            bytes.len()
        );
    }
    Ok(())
}

/// Bytes of the announcement of each of [`CHANGES`] commits.
fn changes(secrets: usize) -> Result<Vec<usize>> {
    let owner = Owner::new()?;
    let (keys, vault) = (owner.secret.object_keys(), owner.control.vault());
    let ring = One(owner.secret.object_keys());
    let (mut root, empty) = tree::empty(&keys, &vault)?;
    let mut memory = Memory::default();
    memory.0.insert(root, empty);
    let mut commits = Commits::new();
    let me = owner.key.node_id();
    let put = |n: usize, salt: usize| Edit::Put {
        path: path(n),
        mode: 0o444,
        value: Zeroizing::new(noise((n + salt) as u64, VALUE)),
    };
    let mut out = Vec::new();
    for turn in 0..=CHANGES {
        let edits = if turn == 0 {
            (0..secrets).map(|n| put(n, 0)).collect()
        } else {
            vec![put(turn * 7_919 % secrets, turn * secrets)]
        };
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(turn as u64).to_le_bytes());
        let heads = commits.heads();
        let tag = commits.next_tag(&heads, me, &owner.control, nonce);
        let before = root;
        let edited =
            Tree::new(&memory, &ring, vault, root).edit(edits, tag, &owner.shape, &keys)?;
        root = edited.root;
        memory.0.extend(edited.objects);
        let now = NOW + turn as u64;
        let commit = commits.next(&heads, me, &owner.control, root, nonce, now);
        let signed = SignedCommit::sign(commit, &owner.key);
        commits.restore(&signed, &owner.control)?;
        if turn == 0 {
            continue;
        }
        let objects = tree::difference(&memory, &[before], &root)?
            .iter()
            .map(|a| memory.0.get(a).cloned().map(Into::into))
            .collect::<Option<Vec<_>>>()
            .context("an object of its own tree")?;
        let announce = Announce {
            commits: vec![signed.bytes().to_vec().into()],
            objects,
            ..Announce::default()
        };
        out.push(wire::frame(&SyncFrame::Announce(announce))?.len());
    }
    Ok(out)
}

/// Measures and prints what a log of [`OPS`] operations costs: mirrors come and go, since a log has at most 256 live members.
pub fn control() -> Result<()> {
    let mut owner = Owner::new()?;
    let me = owner.key.node_id();
    let mut apply = Samples::default();
    let mut signed = Vec::with_capacity(OPS);
    for n in 0..OPS / 2 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let node = RootKey::from_seed(&id).node_id();
        let come = owner.control.grant(me, node, Role::Mirror, 0, None, None);
        let come = SignedOp::sign(come, &owner.key);
        apply.push(applied(&mut owner.control, &come)?);
        let go = owner
            .control
            .revoke(me, Target::Node(node), Vec::new(), None)?;
        let go = SignedOp::sign(go, &owner.key);
        apply.push(applied(&mut owner.control, &go)?);
        signed.extend([come, go]);
    }
    println!(
        "\ncontrol: a log of {} operations, a grant and its revocation in turns",
        signed.len()
    );
    println!("  one more operation        {}", apply.line());
    let mut again = Owner::new()?.control;
    let begun = Instant::now();
    for op in &signed {
        again.apply(op)?;
    }
    println!(
        "  all of it from the start  {:.2} ms",
        millis(begun.elapsed())
    );
    Ok(())
}

/// Measures and prints what it costs to show several heads together: each is by another writer, who changed some secrets, half of them the same ones. The floor is one walk over the
/// difference of each head's tree to the first one's.
pub fn view() -> Result<()> {
    println!("\nview: heads of a vault of {SHARED} secrets, each with {EACH} changed");
    for heads in [2, 4, 8, 16] {
        let (commits, memory, owner) = diverged(heads)?;
        let (ring, vault) = (One(owner.secret.object_keys()), owner.control.vault());
        let ids = commits.heads();
        let roots = || ids.iter().filter_map(|id| commits.get(id).map(|h| h.root));
        let (mut product, mut bare) = (Samples::default(), Samples::default());
        let mut differing = 0;
        for _ in 0..VIEWS {
            let begun = Instant::now();
            let view = View::of(&commits, &ids, &memory, &ring, vault)?.context("a view")?;
            product.push(begun.elapsed());
            differing = view.differing().count();
            let begun = Instant::now();
            let first = roots().next().context("a head")?;
            let first = Tree::new(&memory, &ring, vault, first);
            for root in roots().skip(1) {
                Tree::new(&memory, &ring, vault, root).changes_since(&first)?;
            }
            bare.push(begun.elapsed());
        }
        println!("  {heads:2} heads      {}", product.line());
        println!(
            "     differences {}   ratio {:.2}; {differing} paths differ",
            bare.line(),
            ratio(product.percentile(50), bare.percentile(50))
        );
    }
    Ok(())
}

/// A vault that so many writers changed at once.
fn diverged(heads: usize) -> Result<(Commits, Memory, Owner)> {
    let mut owner = Owner::new()?;
    let (me, keys) = (owner.key.node_id(), owner.secret.object_keys());
    let (vault, ring) = (owner.control.vault(), One(owner.secret.object_keys()));
    let writers: Vec<RootKey> = (1..=heads)
        .map(|n| RootKey::from_seed(&[u8::try_from(n + 50).unwrap_or(u8::MAX); 32]))
        .collect();
    for writer in &writers {
        let grant = owner
            .control
            .grant(me, writer.node_id(), Role::Writer, 0, None, None);
        let grant = SignedOp::sign(grant, &owner.key);
        owner.control.apply(&grant)?;
    }
    let put = |n: usize, salt: usize| Edit::Put {
        path: path(n),
        mode: 0o444,
        value: Zeroizing::new(noise((n + salt) as u64, VALUE)),
    };
    let (empty, object) = tree::empty(&keys, &vault)?;
    let mut memory = Memory::default();
    memory.0.insert(empty, object);
    let mut commits = Commits::new();
    let mut write = |parents: &[CommitId], by: &RootKey, root, edits, n: usize| {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let (author, control) = (by.node_id(), &owner.control);
        let tag = commits.next_tag(parents, author, control, nonce);
        let tree = Tree::new(&memory, &ring, vault, root);
        let edited = tree.edit(edits, tag, &owner.shape, &keys)?;
        memory.0.extend(edited.objects);
        let now = NOW + n as u64;
        let commit = commits.next(parents, author, control, edited.root, nonce, now);
        let signed = SignedCommit::sign(commit, by);
        commits.restore(&signed, control)?;
        anyhow::Ok((CommitId::from(signed.id()), edited.root))
    };
    let all = (0..SHARED).map(|n| put(n, 0)).collect();
    let (base, root) = write(&[], &owner.key, empty, all, 0)?;
    for (n, writer) in (1..).zip(&writers) {
        // Half of them all change; the others are each one's own.
        let common = (0..EACH / 2).map(|k| put(k * 997, n * SHARED));
        let own = (EACH / 2..EACH).map(|k| put((n * EACH + k) * 7 % SHARED, n * SHARED));
        write(&[base], writer, root, common.chain(own).collect(), n)?;
    }
    Ok((commits, memory, owner))
}

fn applied(control: &mut Control, op: &SignedOp) -> Result<Duration> {
    let begun = Instant::now();
    control.apply(op)?;
    Ok(begun.elapsed())
}
