//! Which removals count. They are taken in the order of their authors' rank, as long as an owner is left; what a node did beside its removal is void with all that stands on it.
//! The result is a function of the set of operations.

use super::bits::Bits;
use super::graph::Graph;
use super::live::{Ground, Standing};
use super::op::{Body, Role};
use crate::ids::NodeId;
use std::collections::{BTreeSet, HashMap};

/// How far each owner's authority is from where the era begins.
pub type Ranks = HashMap<NodeId, usize>;

/// Removals in force.
#[derive(Clone, Default)]
pub struct Accepted {
    /// In the order in which they were taken.
    pub list: Vec<usize>,
    pub set: Bits,
}

impl Accepted {
    pub fn push(&mut self, at: usize) {
        self.list.push(at);
        self.set.set(at);
    }

    fn pop(&mut self) {
        if let Some(at) = self.list.pop() {
            self.set.unset(at);
        }
    }
}

/// Judges the operations of an era.
pub fn resolve(ground: &Ground<'_>, ranks: &Ranks) -> (Standing, Accepted) {
    let order = removals_by_rank(ground, ranks);
    let mut excluded = Bits::default();
    loop {
        let turn = turn(ground, &order, &excluded);
        match turn.to_exclude(ground) {
            None => return (turn.standing, turn.accepted),
            Some(r) => excluded.set(r),
        }
    }
}

/// What one turn comes to.
struct Turn {
    standing: Standing,
    accepted: Accepted,
    /// What is void without regard to authority: excluded, beside an accepted removal, or a removal that would leave no owner.
    put_aside: Bits,
}

impl Turn {
    /// The accepted removal without which the era is to be judged again, if one contradicts the rest. The surest comes first: what a removal that stands has put aside; then what has
    /// lost its author's authority, since it may be the very one that has put aside the others; then any other that is void. When no owner is left, it is the last.
    fn to_exclude(&self, ground: &Ground<'_>) -> Option<usize> {
        let (void, stand): (Vec<usize>, Vec<usize>) = self
            .accepted
            .list
            .iter()
            .partition(|r| self.standing.void.has(**r));
        if void.is_empty() {
            let owned = owned(ground, &self.standing, &self.accepted);
            return self.accepted.list.last().copied().filter(|_| !owned);
        }
        let mut surely = Bits::default();
        for at in stand
            .iter()
            .flat_map(|r| self.standing.voided_by(ground, *r))
        {
            surely.set(at);
        }
        let first = |wanted: &dyn Fn(usize) -> bool| void.iter().copied().find(|r| wanted(*r));
        first(&|r| surely.has(r))
            .or_else(|| first(&|r| !self.put_aside.has(r)))
            .or_else(|| void.first().copied())
    }
}

/// Takes removals in order. Each time round the loop takes at least one, or is the last.
fn turn(ground: &Ground<'_>, order: &[usize], excluded: &Bits) -> Turn {
    let mut accepted = Accepted::default();
    let mut put_aside = excluded.clone();
    let mut standing = Standing::with_void(ground, &put_aside);
    loop {
        let before = accepted.list.len();
        for r in order {
            if accepted.set.has(*r) || standing.void.has(*r) {
                continue;
            }
            let beside = standing.voided_by(ground, *r);
            let mut with = put_aside.clone();
            for at in &beside {
                with.set(*at);
            }
            let news = beside.iter().any(|at| !standing.void.has(*at));
            let then = news.then(|| Standing::with_void(ground, &with));
            accepted.push(*r);
            let checked = news || concerns_owner(ground, &standing, *r);
            if !checked || owned(ground, then.as_ref().unwrap_or(&standing), &accepted) {
                put_aside = with;
                standing = then.unwrap_or(standing);
            } else {
                accepted.pop();
                put_aside.set(*r);
                standing = Standing::with_void(ground, &put_aside);
            }
        }
        if accepted.list.len() == before {
            return Turn {
                standing,
                accepted,
                put_aside,
            };
        }
    }
}

/// Whether an owner is left whose grant does not end by itself.
fn owned(ground: &Ground<'_>, standing: &Standing, accepted: &Accepted) -> bool {
    let graph = ground.graph;
    standing.holds.all().iter().any(|hold| {
        let terms = graph.terms(hold.root);
        terms.role == Role::Owner
            && terms.expires.is_none()
            && standing.lives(graph, hold, ground.ops, Some(&accepted.set))
    })
}

fn concerns_owner(ground: &Ground<'_>, standing: &Standing, r: usize) -> bool {
    let graph = ground.graph;
    standing
        .touched(graph, r)
        .iter()
        .flat_map(|node| standing.holds.of(node))
        .any(|hold| graph.terms(hold.root).role == Role::Owner)
}

/// Removals by the rank of their author, author, how much they build on, id. None of it can be ground when an attack begins.
fn removals_by_rank(ground: &Ground<'_>, ranks: &Ranks) -> Vec<usize> {
    let graph = ground.graph;
    let removes =
        |at: &usize| matches!(graph.body(*at), Body::Revoke { .. } | Body::Replace { .. });
    let mut order: Vec<usize> = ground.order.iter().copied().filter(removes).collect();
    order.sort_by_cached_key(|at| {
        let author = graph.author(*at);
        let rank = ranks.get(&author).copied().unwrap_or(usize::MAX);
        (rank, author, graph.past(*at).count(), graph.id(*at))
    });
    order
}

/// The ranks of an era: those that it begins with, and one more than the maker's for everyone who was made an owner in it. A puppet is always junior to its maker; void or not
/// makes no difference.
pub fn ranks(graph: &Graph, ops: &Bits, base: &Ranks) -> Ranks {
    let mut made: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for at in ops.iter() {
        let new = match graph.body(at) {
            Body::Grant {
                node,
                role: Role::Owner,
                ..
            } => node,
            Body::Join { node, .. } if graph.terms(at).role == Role::Owner => node,
            Body::Replace { new, .. } => new,
            _ => continue,
        };
        made.entry(graph.author(at)).or_default().push(*new);
    }
    let mut ranks = base.clone();
    let mut open: BTreeSet<(usize, NodeId)> = base.iter().map(|(n, rank)| (*rank, *n)).collect();
    while let Some((rank, node)) = open.pop_first() {
        for next in made.get(&node).into_iter().flatten() {
            if ranks.get(next).is_none_or(|known| *known > rank + 1) {
                ranks.insert(*next, rank + 1);
                open.insert((rank + 1, *next));
            }
        }
    }
    ranks
}
