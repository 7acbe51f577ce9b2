//! The one connection that this node keeps with each other, and what is remembered of those before it. Nothing here waits: a connection that loses its place is closed, and
//! whoever asked is told what is left to do.

use super::table::{self, Facts};
use crate::net::{Close, Connection};
use polykey_core::ids::NodeId;
use polykey_core::wire::SignedStart;
use std::collections::{BTreeMap, BTreeSet};

/// All of them.
#[derive(Default)]
pub struct Connections {
    next: u64,
    live: BTreeMap<NodeId, Live>,
    /// A second process with the identity of one in `live`, or the one before it that has not been found dead yet.
    beside: BTreeMap<NodeId, Live>,
    /// Nodes to which a hello is on its way.
    greeting: BTreeSet<NodeId>,
    past: BTreeMap<NodeId, Past>,
}

/// One that is open.
#[derive(Clone)]
pub struct Live {
    /// Tells it from others with the same node.
    pub number: u64,
    /// What the network has of it.
    pub connection: Connection,
    /// The start of the process at its other end.
    pub start: SignedStart,
    facts: Facts,
}

/// What is remembered of a node.
#[derive(Default)]
pub struct Past {
    /// When it was last connected.
    pub seen_ms: Option<u64>,
    /// Why the last attempt failed, or the last connection ended.
    pub failure: Option<String>,
    /// When two processes with its identity were found connected.
    pub cloned_ms: Option<u64>,
}

/// A connection that has its place.
pub struct Placed {
    /// It.
    pub new: Live,
    /// That of another process of the same node, which stepped aside and may be dead.
    pub doubted: Option<Live>,
}

impl Connections {
    /// Nodes that are connected, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.live.keys()
    }

    /// The connection with `node`.
    pub fn with(&self, node: &NodeId) -> Option<&Connection> {
        self.live.get(node).map(|l| &l.connection)
    }

    /// Every open one, those that stand beside others too.
    pub fn open(&self) -> Vec<Connection> {
        let all = self.live.values().chain(self.beside.values());
        all.map(|l| l.connection.clone()).collect()
    }

    /// Every open one; here there are none any more.
    pub fn take_all(&mut self) -> Vec<Connection> {
        let open = self.open();
        self.live.clear();
        self.beside.clear();
        open
    }

    /// One hello at a time to a node, and none where the connection would not stay. Ends with [`Connections::release`].
    pub fn reserve(&mut self, me: &NodeId, node: &NodeId) -> bool {
        let worth = self
            .live
            .get(node)
            .is_none_or(|old| table::worth_a_hello(me, node, &old.facts));
        worth && self.greeting.insert(*node)
    }

    /// The hello has been answered, or never will be.
    pub fn release(&mut self, node: &NodeId) {
        self.greeting.remove(node);
    }

    /// Makes this the connection to its node; `None` where the one there is stays.
    pub fn place(
        &mut self,
        me: &NodeId,
        connection: &Connection,
        start: SignedStart,
    ) -> Option<Placed> {
        let node = connection.node();
        let facts = Facts {
            dialled: connection.dialled(),
            instance: *start.payload().instance,
        };
        if let Some(old) = self.live.get(&node)
            && !table::replaces(me, &node, &old.facts, &facts)
        {
            return None;
        }
        self.next += 1;
        let new = Live {
            number: self.next,
            connection: connection.clone(),
            start,
            facts,
        };
        let old = self.live.insert(node, new.clone());
        self.past_of(node).failure = None;
        let doubted = old.and_then(|old| self.put_aside(node, old, &new));
        Some(Placed { new, doubted })
    }

    /// Ends the older of two with one process; that with another process steps aside.
    fn put_aside(&mut self, node: NodeId, old: Live, new: &Live) -> Option<Live> {
        if old.facts.instance == new.facts.instance {
            old.connection.close(Close::Duplicate);
            return None;
        }
        if let Some(third) = self.beside.insert(node, old.clone()) {
            third.connection.close(Close::Duplicate);
        }
        Some(old)
    }

    /// Takes out one that has ended; whether it was the one with its node, whose place that beside it takes.
    pub fn ended(&mut self, node: &NodeId, number: u64, why: String, now_ms: u64) -> bool {
        if self.beside.get(node).is_some_and(|l| l.number == number) {
            self.beside.remove(node);
        }
        if self.live.get(node).is_none_or(|l| l.number != number) {
            return false;
        }
        self.live.remove(node);
        if let Some(other) = self.beside.remove(node) {
            self.live.insert(*node, other);
        }
        let past = self.past_of(*node);
        past.seen_ms = Some(now_ms);
        past.failure = Some(why);
        true
    }

    /// Ends the connection that stands beside that of `node`, if it is this one.
    pub fn end_beside(&mut self, node: &NodeId, number: u64) {
        if let Some(beside) = self.beside.get(node).filter(|l| l.number == number) {
            beside.connection.close(Close::Duplicate);
            self.beside.remove(node);
        }
    }

    /// The connection that stands beside that of `node` takes its place, if it is this one.
    pub fn put_first(&mut self, node: &NodeId, number: u64) {
        let Some(first) = self.beside.remove(node) else {
            return;
        };
        if first.number != number {
            self.beside.insert(*node, first);
        } else if let Some(second) = self.live.insert(*node, first) {
            self.beside.insert(*node, second);
        }
    }

    /// What is remembered of `node`, if anything is.
    pub fn past(&self, node: &NodeId) -> Option<&Past> {
        self.past.get(node)
    }

    /// What is remembered of `node`, to add to it.
    pub fn past_of(&mut self, node: NodeId) -> &mut Past {
        self.past.entry(node).or_default()
    }

    /// Remembers nothing of nodes that are not known.
    pub fn forget_all_but(&mut self, known: &BTreeSet<NodeId>) {
        self.past.retain(|node, _| known.contains(node));
    }
}
