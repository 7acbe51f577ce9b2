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
        let (standing, accepted, beside) = turn(ground, &order, &excluded);
        // One that has lost its author's authority goes before one that is only beside another: it may be the very one that has put that aside, and its author's authority with it.
        let is_void = |r: &&usize| standing.void.has(**r);
        let bad = accepted
            .list
            .iter()
            .filter(is_void)
            .find(|r| !beside.has(**r))
            .or(accepted.list.iter().find(is_void))
            .or(accepted
                .list
                .last()
                .filter(|_| !owned(ground, &standing, &accepted)));
        match bad {
            None => return (standing, accepted),
            Some(r) => excluded.set(*r),
        }
    }
}

/// One turn. Each time round the loop takes at least one removal, or is the last. Gives also what is void by itself: excluded, or beside an accepted removal.
fn turn(ground: &Ground<'_>, order: &[usize], excluded: &Bits) -> (Standing, Accepted, Bits) {
    let mut accepted = Accepted::default();
    let mut void = excluded.clone();
    let mut standing = Standing::with_void(ground, &void);
    loop {
        let before = accepted.list.len();
        for r in order {
            if accepted.set.has(*r) || standing.void.has(*r) {
                continue;
            }
            let beside = standing.voided_by(ground, *r);
            let mut with = void.clone();
            for at in &beside {
                with.set(*at);
            }
            let news = beside.iter().any(|at| !standing.void.has(*at));
            let then = news.then(|| Standing::with_void(ground, &with));
            accepted.push(*r);
            let checked = news || concerns_owner(ground, &standing, *r);
            if !checked || owned(ground, then.as_ref().unwrap_or(&standing), &accepted) {
                void = with;
                standing = then.unwrap_or(standing);
            } else {
                accepted.pop();
                void.set(*r);
                standing = Standing::with_void(ground, &void);
            }
        }
        if accepted.list.len() == before {
            return (standing, accepted, void);
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
