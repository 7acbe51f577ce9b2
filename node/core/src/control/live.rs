//! Who holds which grant, and who may write which operation, given the operations that are void. One pass in an order in which parents come first; nothing here decides between
//! removals that contradict each other.

use super::bits::Bits;
use super::graph::Graph;
use super::op::{Body, By, Role, Target};
use crate::ids::NodeId;
use std::collections::{BTreeSet, HashMap};

/// The most grants that a Replace carries over to the new id: more to one node than anybody writes by hand.
const MAX_CARRIED: usize = 64;

/// How a node came to hold a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub node: NodeId,
    /// The Grant, Join or Genesis.
    pub grant: usize,
    /// The Grant that a Join is under; else `grant`.
    pub root: usize,
    /// The operation that gave it: the grant itself, or a Replace or Reset that carried it over.
    pub via: usize,
}

/// Holds, with what finds them.
#[derive(Clone, Default)]
pub struct Holds {
    all: Vec<Hold>,
    of_node: HashMap<NodeId, Vec<usize>>,
    of_root: HashMap<usize, Vec<usize>>,
}

impl Holds {
    pub fn add(&mut self, hold: Hold) {
        let at = self.all.len();
        self.of_node.entry(hold.node).or_default().push(at);
        self.of_root.entry(hold.root).or_default().push(at);
        self.all.push(hold);
    }

    pub fn all(&self) -> &[Hold] {
        &self.all
    }

    pub fn of<'a>(&'a self, node: &NodeId) -> impl Iterator<Item = &'a Hold> + use<'a> {
        let held = self.of_node.get(node).map_or(&[][..], Vec::as_slice);
        held.iter().map(|at| &self.all[*at])
    }

    pub fn under(&self, root: usize) -> impl Iterator<Item = &Hold> {
        let held = self.of_root.get(&root).map_or(&[][..], Vec::as_slice);
        held.iter().map(|at| &self.all[*at])
    }
}

/// By which right an operation counts.
enum Right {
    /// Its author's own.
    Full,
    /// A removal by a fellow node: it ends what both hold under these Grants, and nothing else.
    Shared(Vec<usize>),
}

/// The operations of one era as they stand with some of them void.
#[derive(Clone)]
pub struct Standing {
    /// What is void, with all that this leaves without authority.
    pub void: Bits,
    pub holds: Holds,
    /// Removals that end less than everything of a node.
    scopes: HashMap<usize, Vec<usize>>,
}

/// Where an era begins and what belongs to it.
pub struct Ground<'a> {
    pub graph: &'a Graph,
    pub ops: &'a Bits,
    /// All of `ops` but the first, parents before children, in an order that every replica has.
    pub order: &'a [usize],
    /// What is held when it begins.
    pub base: &'a [Hold],
}

impl Standing {
    /// The pass: `void` with all that it leaves without authority.
    pub fn with_void(ground: &Ground<'_>, void: &Bits) -> Standing {
        let mut standing = Standing {
            void: void.clone(),
            holds: Holds::default(),
            scopes: HashMap::new(),
        };
        for hold in ground.base {
            standing.holds.add(*hold);
        }
        for at in ground.order {
            if standing.void.has(*at) {
                continue;
            }
            match standing.right(ground, *at, None) {
                None => standing.void.set(*at),
                Some(Right::Full) => standing.gain(ground, *at),
                Some(Right::Shared(roots)) => {
                    standing.scopes.insert(*at, roots);
                }
            }
        }
        standing
    }

    /// The positions of `of` that are in `within` and hold: not void, and ended by nothing there. `counted`: the removals that count; else all that are not void.
    pub fn lives(&self, graph: &Graph, hold: &Hold, within: &Bits, counted: Option<&Bits>) -> bool {
        within.has(hold.via)
            && !self.void.has(hold.via)
            && !enders(graph, hold).any(|e| {
                within.has(e)
                    && !self.void.has(e)
                    && counted.is_none_or(|c| c.has(e))
                    && self.ends(graph, e, hold)
            })
    }

    /// Whether the removal at `e`, if it counts, ends the hold.
    pub fn ends(&self, graph: &Graph, e: usize, hold: &Hold) -> bool {
        match graph.body(e) {
            Body::Revoke {
                target: Target::Grant(id),
                ..
            } => graph
                .at(id)
                .is_some_and(|grant| grant == hold.grant || grant == hold.root),
            Body::Revoke {
                target: Target::Node(node),
                ..
            } => {
                *node == hold.node
                    && !graph.past(hold.via).has(e)
                    && self
                        .scopes
                        .get(&e)
                        .is_none_or(|roots| roots.contains(&hold.root))
            }
            Body::Replace { .. } => graph.author(e) == hold.node && !graph.past(hold.via).has(e),
            _ => false,
        }
    }

    /// Whether the removal at `r` takes everything from its node: what the node did beside it is then void whatever else the node holds.
    pub fn takes_all(&self, graph: &Graph, r: usize) -> bool {
        match graph.body(r) {
            Body::Revoke {
                target: Target::Node(_),
                ..
            } => !self.scopes.contains_key(&r),
            Body::Replace { .. } => true,
            _ => false,
        }
    }

    /// The nodes that the removal at `r` touches.
    pub fn touched(&self, graph: &Graph, r: usize) -> BTreeSet<NodeId> {
        match graph.body(r) {
            Body::Revoke {
                target: Target::Node(node),
                ..
            } => BTreeSet::from([*node]),
            Body::Replace { .. } => BTreeSet::from([graph.author(r)]),
            Body::Revoke {
                target: Target::Grant(id),
                ..
            } => {
                let Some(grant) = graph.at(id) else {
                    return BTreeSet::new();
                };
                let under = self.holds.under(graph.root(grant));
                under
                    .filter(|h| h.grant == grant || h.root == grant)
                    .map(|h| h.node)
                    .collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// What the nodes that the removal at `r` touches did beside it: outside what it keeps and not knowing of it. Where it leaves a node something, that must carry the operation. What has no authority now is named too: it might get it back when what is void changes.
    pub fn voided_by(&self, ground: &Ground<'_>, r: usize) -> Vec<usize> {
        let graph = ground.graph;
        let Some((upto, ..)) = graph.removal(r) else {
            return Vec::new();
        };
        let (touched, kept) = (self.touched(graph, r), graph.past_of(upto));
        let all = self.takes_all(graph, r);
        ground
            .order
            .iter()
            .copied()
            .filter(|at| *at != r && graph.by(*at) == By::Node)
            .filter(|at| touched.contains(&graph.author(*at)))
            .filter(|at| !kept.has(*at) && !graph.past(*at).has(r))
            .filter(|at| all || !self.stands_without(ground, *at, r))
            .collect()
    }

    fn stands_without(&self, ground: &Ground<'_>, at: usize, r: usize) -> bool {
        let graph = ground.graph;
        if matches!(graph.body(at), Body::Replace { .. }) {
            // It carries all that its author holds: nothing of what `r` ends may slip through.
            let before = before(ground, at);
            let author = graph.author(at);
            let mut held = self.held(graph, &author, &before, None);
            if held.any(|h| self.ends(graph, r, h)) {
                return false;
            }
        }
        self.right(ground, at, Some(r)).is_some()
    }

    /// What `node` holds in `within`, but for what the removal `except` would end.
    fn held<'a>(
        &'a self,
        graph: &'a Graph,
        node: &NodeId,
        within: &'a Bits,
        except: Option<usize>,
    ) -> impl Iterator<Item = &'a Hold> {
        self.holds.of(node).filter(move |hold| {
            self.lives(graph, hold, within, None)
                && except.is_none_or(|r| !self.ends(graph, r, hold))
        })
    }

    /// By which right the operation at `at` counts, judged by what it builds on.
    fn right(&self, ground: &Ground<'_>, at: usize, except: Option<usize>) -> Option<Right> {
        let graph = ground.graph;
        if let Body::Resign {} = graph.body(at) {
            return Some(Right::Full);
        }
        let before = before(ground, at);
        let held: Vec<Hold> = self
            .held(graph, &graph.author(at), &before, except)
            .copied()
            .collect();
        let owner = held.iter().any(|h| graph.terms(h.root).role == Role::Owner);
        let full = |yes: bool| yes.then_some(Right::Full);
        match graph.body(at) {
            Body::Grant { .. } | Body::Rotate { .. } | Body::Prune { .. } | Body::Format { .. } => {
                full(owner)
            }
            Body::Join { grant, .. } => {
                let root = graph.at(grant)?;
                full(held.iter().any(|h| h.root == root) && self.has_room(graph, root, &before))
            }
            Body::Replace { epoch, .. } => full(!held.is_empty() && (owner || epoch.is_none())),
            Body::Revoke { target, epoch, .. } => {
                if owner && (epoch.is_some() || !graph.could_read(target, &before)) {
                    Some(Right::Full)
                } else if epoch.is_none() {
                    self.shared(graph, &held, target, &before)
                } else {
                    None
                }
            }
            // A Reset that counts begins an era; one that does not is nobody's.
            Body::Genesis { .. } | Body::Reset { .. } | Body::Resign {} => None,
        }
    }

    /// Whether a grant's gestalt may have one more node. Joins beside each other take the room in the order of the pass, so that never more live than were granted.
    fn has_room(&self, graph: &Graph, root: usize, before: &Bits) -> bool {
        let taken: BTreeSet<usize> = self
            .holds
            .under(root)
            .filter(|h| h.grant != root)
            .filter(|h| {
                let mut within = before.clone();
                if h.via == h.grant {
                    // One that is not known there takes its room all the same.
                    within.set(h.via);
                }
                self.lives(graph, h, &within, None)
            })
            .map(|h| h.grant)
            .collect();
        taken.len() < usize::from(graph.terms(root).siblings)
    }

    /// The right of a fellow node to remove one that is under the same grant.
    fn shared(
        &self,
        graph: &Graph,
        held: &[Hold],
        target: &Target,
        before: &Bits,
    ) -> Option<Right> {
        match target {
            Target::Node(node) => {
                let theirs: BTreeSet<usize> = self
                    .held(graph, node, before, None)
                    .map(|h| h.root)
                    .filter(|root| held.iter().any(|h| h.root == *root))
                    .collect();
                (!theirs.is_empty()).then(|| Right::Shared(theirs.into_iter().collect()))
            }
            Target::Grant(id) => {
                let grant = graph.at(id)?;
                let root = graph.root(grant);
                let fellow = grant != root && held.iter().any(|h| h.root == root);
                fellow.then_some(Right::Full)
            }
        }
    }

    /// Enters what the operation at `at` gives.
    pub fn gain(&mut self, ground: &Ground<'_>, at: usize) {
        let graph = ground.graph;
        match graph.body(at) {
            Body::Grant { node, .. } | Body::Join { node, .. } => self.holds.add(Hold {
                node: *node,
                grant: at,
                root: graph.root(at),
                via: at,
            }),
            Body::Replace { new, .. } => {
                let before = before(ground, at);
                let mut carried: Vec<Hold> = self
                    .held(graph, &graph.author(at), &before, None)
                    .copied()
                    .collect();
                carried.sort_by_key(|h| graph.id(h.grant));
                carried.dedup_by_key(|h| h.grant);
                carried.truncate(MAX_CARRIED);
                for hold in carried {
                    self.holds.add(Hold {
                        node: *new,
                        via: at,
                        ..hold
                    });
                }
            }
            _ => {}
        }
    }
}

/// Removals that may end a hold.
fn enders<'a>(graph: &'a Graph, hold: &Hold) -> impl Iterator<Item = usize> + 'a {
    let withdrawn = graph.withdrawals_of(hold.grant);
    let with_root = if hold.root == hold.grant {
        &[][..]
    } else {
        graph.withdrawals_of(hold.root)
    };
    graph
        .removals_of(&hold.node)
        .iter()
        .chain(withdrawn)
        .chain(with_root)
        .copied()
}

/// What the operation at `at` builds on within the era, without itself: an owner may remove itself.
fn before(ground: &Ground<'_>, at: usize) -> Bits {
    let mut before = ground.graph.past(at).clone();
    before.meet(ground.ops);
    before.unset(at);
    before
}
