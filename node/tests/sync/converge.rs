//! Several real nodes on bad lines, with a mirror between them, each written to, restarted and killed at any time: in the end all hold the same.

use crate::node::{Node, Stopped, within};
use crate::relay::{Line, Weather};
use polykey_core::control::Role;
use polykey_core::ids::VaultId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Rounds in the tests that everybody runs; `PROPTEST_CASES` has more.
const ROUNDS: u64 = 5;
/// Things that happen in a round.
const STEPS: u64 = 40;
/// Longest wait for all to hold the same once the lines are whole: reconnecting backs off up to 30 s.
const PATIENCE: Duration = Duration::from_mins(2);
/// The mirror. It stands between the others, who do not know each other's address.
const MIRROR: usize = 1;

/// One sequence of choices for each seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }
}

/// The owner, a mirror, two writers and a reader. All but the mirror dial the mirror.
struct World {
    nodes: Vec<Option<Node>>,
    stopped: BTreeMap<usize, Stopped>,
    lines: Vec<Line>,
    vault: VaultId,
    /// Acknowledged: each value was the last that was written to its path, and nobody else writes there.
    written: BTreeMap<String, Vec<u8>>,
    /// How many writes were acknowledged.
    writes: u64,
}

const ROLES: [Role; 5] = [
    Role::Owner,
    Role::Mirror,
    Role::Writer,
    Role::Writer,
    Role::Reader,
];

impl World {
    async fn new(seed: u64, dice: &mut Dice) -> World {
        let mut nodes = Vec::new();
        for number in 1..=5 {
            nodes.push(Node::start(number).await);
        }
        let mut lines = Vec::new();
        for at in [0, 2, 3, 4] {
            let weather = Weather {
                lost: dice.below(60),
                doubled: dice.below(60),
                late: dice.below(200),
            };
            let line = Line::to(nodes[MIRROR].socket(), weather, seed ^ at as u64).await;
            nodes[MIRROR].knows(&nodes[at]).await;
            nodes[at].dials_at(&nodes[MIRROR], line.at).await;
            lines.push(line);
        }
        let vault = nodes[0].vaults.create("app").await.unwrap();
        for (at, role) in ROLES.into_iter().enumerate().skip(1) {
            nodes[0].share(&vault, &nodes[at], role).await;
        }
        World {
            nodes: nodes.into_iter().map(Some).collect(),
            stopped: BTreeMap::new(),
            lines,
            vault,
            written: BTreeMap::new(),
            writes: 0,
        }
    }

    async fn step(&mut self, n: u64, dice: &mut Dice) {
        match dice.below(10) {
            0 => {
                let (line, cut) = (dice.index(self.lines.len()), dice.below(2) == 0);
                self.lines[line].cut(cut);
            }
            1 => {
                let at = dice.index(self.nodes.len());
                self.down(at, dice.below(2) == 0).await;
            }
            2 => {
                if let Some(at) = self.stopped.keys().next().copied() {
                    self.up(at).await;
                }
            }
            _ => self.write([0, 2, 3][dice.index(3)], n, dice).await,
        }
    }

    /// A write to a path of the writer's own, and one to a path that all write.
    async fn write(&mut self, at: usize, n: u64, dice: &mut Dice) {
        let Some(node) = &self.nodes[at] else { return };
        if node.vaults.list().is_empty() {
            return;
        }
        let own = format!("of/{at}/{}", dice.below(4));
        let value = format!("{n}").into_bytes();
        let values = [
            (own.as_str(), value.clone()),
            ("shared/by/all", value.clone()),
        ];
        // A writer to whom the keys have not come yet cannot write.
        if node.try_set_all(&self.vault, values).await {
            self.written.insert(own, value);
            self.writes += 1;
        }
    }

    async fn down(&mut self, at: usize, in_order: bool) {
        if let Some(node) = self.nodes[at].take() {
            let stopped = if in_order {
                node.stop().await
            } else {
                node.kill()
            };
            self.stopped.insert(at, stopped);
        }
    }

    async fn up(&mut self, at: usize) {
        if let Some(stopped) = self.stopped.remove(&at) {
            self.nodes[at] = Some(stopped.start().await);
        }
    }

    /// The weather clears, everybody is up: who can read reads the same.
    async fn settles(&mut self, seed: u64) {
        for line in &self.lines {
            line.cut(false);
        }
        for at in 0..self.nodes.len() {
            self.up(at).await;
        }
        let nodes: Vec<&Node> = self.nodes.iter().flatten().collect();
        let vault = &self.vault;
        within(PATIENCE, &format!("the same heads, seed {seed}"), || {
            let first = nodes[0].vaults.summary(vault);
            first.is_some() && nodes.iter().all(|n| n.vaults.summary(vault) == first)
        })
        .await;
        // Machines make no versions: every one is of somebody who wrote.
        let writers = [nodes[0].id, nodes[2].id, nodes[3].id];
        let log = nodes[0].vaults.log(vault, None, 1_000).unwrap();
        assert!(!log.is_empty(), "seed {seed}");
        assert!(log.iter().all(|v| writers.contains(&v.author)));
        assert_eq!(
            log.len() as u64,
            self.writes,
            "one for each write, seed {seed}"
        );
        // Whoever writes next joins what stands side by side, and everybody sees it.
        nodes[0].set(vault, "last", b"word").await;
        for at in [0, 2, 3, 4] {
            nodes[at].has(vault, "last", b"word").await;
            for (path, value) in &self.written {
                let got = nodes[at].get(vault, path);
                assert_eq!(got.as_ref(), Some(value), "{path} on {at}, seed {seed}");
            }
        }
        for node in &nodes {
            assert!(
                node.vaults.summary_of(vault).unwrap().doubles.is_empty(),
                "nobody has a double, seed {seed}"
            );
        }
    }
}

fn rounds() -> u64 {
    let given = std::env::var("PROPTEST_CASES").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_converges() {
    let first = std::env::var("POLYKEY_SEED").ok();
    let first: u64 = first.and_then(|n| n.parse().ok()).unwrap_or(1);
    for seed in first..first + rounds() {
        let mut dice = Dice(seed);
        let mut world = World::new(seed, &mut dice).await;
        for n in 0..STEPS {
            world.step(n, &mut dice).await;
        }
        world.settles(seed).await;
    }
}
