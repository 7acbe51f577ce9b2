//! Recovery. A Reset by the recovery key is a second genesis: it carries over what some operations came to, with another id in the founder's place, and only what builds on it counts
//! from there. It is found before anything else is judged, so nothing that a thief wrote can argue with it; and nothing that happened before is judged anew.

use super::bits::Bits;
use super::graph::Graph;
use super::live::{Ground, Hold, Standing};
use super::log::Control;
use super::op::Body;
use super::resolve::{self, Accepted, Ranks};
use crate::ids::{NodeId, OpId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What Genesis or a Reset began, judged.
#[derive(Clone)]
pub struct Era {
    /// Genesis or the Reset.
    pub root: usize,
    /// It and what builds on it, as far as the next Reset carries it over.
    pub ops: Bits,
    pub standing: Standing,
    pub accepted: Accepted,
    /// The ids that the founder had until now; a Reset takes all of them out.
    pub founder: BTreeSet<NodeId>,
    ranks: Ranks,
}

/// The eras of a log, oldest first. The newest says what is; an older one says what was.
pub fn eras(graph: &Graph) -> Vec<Era> {
    let mut sets = Vec::new();
    let mut here = graph.all();
    let counting = counting_resets(graph);
    while let Some(reset) = last_reset(graph, &counting, &here) {
        let carried = match graph.body(reset) {
            Body::Reset { upto, .. } => graph.past_of(upto),
            _ => unreachable!("a Reset"),
        };
        here = here
            .iter()
            .filter(|at| graph.past(*at).has(reset))
            .collect();
        sets.push((reset, here));
        here = carried;
    }
    sets.push((0, here));
    let mut eras: Vec<Era> = Vec::new();
    for (root, ops) in sets.into_iter().rev() {
        let era = begin(graph, eras.last(), root, ops);
        eras.push(era);
    }
    eras
}

/// Resets that count: every Resign was made by someone who knew of them. After a Resign there is no Reset, however it is dated; and a Resign undoes none.
fn counting_resets(graph: &Graph) -> Vec<usize> {
    let of = |wanted: fn(&Body) -> bool| {
        graph
            .recoveries()
            .iter()
            .copied()
            .filter(move |at| wanted(graph.body(*at)))
    };
    of(|b| matches!(b, Body::Reset { .. }))
        .filter(|reset| {
            of(|b| matches!(b, Body::Resign {})).all(|resign| graph.past(resign).has(*reset))
        })
        .collect()
}

/// The Reset that no other builds on; of several that with the lowest id.
fn last_reset(graph: &Graph, counting: &[usize], here: &Bits) -> Option<usize> {
    let within = || counting.iter().copied().filter(|r| here.has(*r));
    within()
        .filter(|r| !within().any(|other| other != *r && graph.past(other).has(*r)))
        .min_by_key(|r| graph.id(*r))
}

fn begin(graph: &Graph, before: Option<&Era>, root: usize, ops: Bits) -> Era {
    let (base, ranks, founder) = match before {
        None => {
            let founder = graph.author(root);
            let hold = Hold {
                node: founder,
                grant: root,
                root,
                via: root,
            };
            (
                vec![hold],
                HashMap::from([(founder, 1)]),
                BTreeSet::from([founder]),
            )
        }
        Some(before) => carry_over(graph, before, root),
    };
    let mut order: Vec<usize> = ops.iter().filter(|at| *at != root).collect();
    order.sort_by_cached_key(|at| (graph.past(*at).count(), graph.id(*at)));
    let ranks = resolve::ranks(graph, &ops, &ranks);
    let ground = Ground {
        graph,
        ops: &ops,
        order: &order,
        base: &base,
    };
    let (standing, accepted) = resolve::resolve(&ground, &ranks);
    let founder = with_replaced(graph, founder, &standing, &ops);
    Era {
        root,
        ops,
        standing,
        accepted,
        founder,
        ranks,
    }
}

/// What a Reset begins with: all that lives at the end of the era before, the founder's ids replaced by the new one, which is an owner whatever became of the founder.
fn carry_over(graph: &Graph, before: &Era, reset: usize) -> (Vec<Hold>, Ranks, BTreeSet<NodeId>) {
    let Body::Reset { new, .. } = graph.body(reset) else {
        unreachable!("an era begins with Genesis or a Reset")
    };
    let founding = Hold {
        node: *new,
        grant: 0,
        root: 0,
        via: reset,
    };
    let mut base: BTreeMap<(NodeId, usize), Hold> = BTreeMap::from([((*new, 0), founding)]);
    for hold in before.live(graph, &before.ops) {
        let node = if before.founder.contains(&hold.node) {
            *new
        } else {
            hold.node
        };
        let carried = Hold {
            node,
            via: reset,
            ..hold
        };
        base.insert((node, hold.grant), carried);
    }
    let mut ranks = before.ranks.clone();
    ranks.retain(|node, _| !before.founder.contains(node));
    ranks.insert(*new, 1);
    let mut founder = before.founder.clone();
    founder.insert(*new);
    (base.into_values().collect(), ranks, founder)
}

/// The founder's ids with those that its own Replaces in force gave it.
fn with_replaced(
    graph: &Graph,
    mut founder: BTreeSet<NodeId>,
    standing: &Standing,
    ops: &Bits,
) -> BTreeSet<NodeId> {
    let replaced: Vec<(NodeId, NodeId)> = ops
        .iter()
        .filter(|at| !standing.void.has(*at))
        .filter_map(|at| match graph.body(at) {
            Body::Replace { new, .. } => Some((graph.author(at), *new)),
            _ => None,
        })
        .collect();
    let mut before = 0;
    while founder.len() > before {
        before = founder.len();
        let new = replaced.iter().filter(|(old, _)| founder.contains(old));
        let new: Vec<NodeId> = new.map(|(_, new)| *new).collect();
        founder.extend(new);
    }
    founder
}

impl Era {
    /// What is held in `within`, by the removals in force.
    pub fn live<'a>(
        &'a self,
        graph: &'a Graph,
        within: &'a Bits,
    ) -> impl Iterator<Item = Hold> + use<'a> {
        let lives = |h: &&Hold| {
            self.standing
                .lives(graph, h, within, Some(&self.accepted.set))
        };
        self.standing.holds.all().iter().filter(lives).copied()
    }

    /// What `node` holds in `within`.
    pub fn held_by<'a>(
        &'a self,
        graph: &'a Graph,
        node: &NodeId,
        within: &'a Bits,
    ) -> impl Iterator<Item = Hold> + use<'a> {
        let lives = |h: &&Hold| {
            self.standing
                .lives(graph, h, within, Some(&self.accepted.set))
        };
        self.standing.holds.of(node).filter(lives).copied()
    }
}

impl Control {
    /// Whether `node` was made an id of the founder, or of whoever gave its place to it, in what these heads build on, void or not. Who had the founder's device at that moment has its
    /// key; a key that was drawn later it has not.
    #[must_use]
    pub fn had_key(&self, heads: &[OpId], node: &NodeId) -> bool {
        let made = |at: usize| match self.graph.body(at) {
            Body::Genesis { .. } => self.graph.author(at) == *node,
            Body::Replace { new, .. } | Body::Reset { new, .. } => new == node,
            _ => false,
        };
        self.graph.past_of(heads).iter().any(made)
    }
}
