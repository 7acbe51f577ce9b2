//! What a pod with a good token sees of its vaults, while vaults, rules and the node change.

use super::world::{Watch, World, eventually};
use crate::record::Happened;
use polykey_client::watch::{Body, Content, Frame, MAX_FRAME};
use polykey_core::audit::{Kind, Outcome};
use polykey_core::commit::SignedCommit;
use polykey_core::control::{Caveat, Control, Role, SignedOp};
use polykey_core::ids::{Address, CommitId, EpochId};
use polykey_core::seal::{self, ObjectKeys};
use polykey_core::tree::{Keyring, Objects, Tree};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// What a sidecar keeps of a vault: pages and keys, and the values in its files.
#[derive(Default)]
struct Sidecar {
    objects: HashMap<Address, Vec<u8>>,
    keys: HashMap<EpochId, ObjectKeys>,
    control: Option<Control>,
    files: BTreeMap<String, (polykey_core::ids::Tag, Vec<u8>)>,
    version: Option<CommitId>,
}

impl Objects for Sidecar {
    fn object(
        &self,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.objects.get(address).cloned())
    }
}

impl Keyring for Sidecar {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        self.keys.get(epoch)
    }
}

impl Sidecar {
    /// Takes a version with its parts, verifies the commit and opens every value that changed, as a sidecar must be able to.
    async fn take(&mut self, watch: &mut Watch) {
        match watch.next().await.unwrap() {
            Frame::Snapshot(content) => {
                *self = Sidecar::default();
                self.take_content(content, watch).await;
            }
            Frame::Change(content) => self.take_content(content, watch).await,
            other => panic!("{}", kind(&other)),
        }
    }

    async fn take_content(&mut self, content: Content, watch: &mut Watch) {
        self.verify(&content);
        let root = SignedCommit::parse(content.commits.last().unwrap())
            .unwrap()
            .payload()
            .root;
        let mut more = content.more;
        self.take_body(content.body);
        while more {
            let Some(Frame::Part(part)) = watch.next().await else {
                panic!("a part")
            };
            assert_eq!(part.name, content.name);
            more = part.more;
            self.take_body(part.body);
        }
        self.open(content.vault, root);
        self.version = Some(content.version);
    }

    fn verify(&mut self, content: &Content) {
        for op in &content.control {
            let op = SignedOp::parse(op).unwrap();
            match &mut self.control {
                None => self.control = Some(Control::new(&op).unwrap()),
                Some(control) => drop(control.apply(&op).unwrap()),
            }
        }
        let control = self.control.as_ref().unwrap();
        let commit = SignedCommit::parse(content.commits.last().unwrap()).unwrap();
        assert_eq!(control.vault(), content.vault);
        assert_eq!(CommitId::from(commit.id()), content.version);
        polykey_core::commit::vouch_alone(&commit, control).unwrap();
    }

    fn take_body(&mut self, body: Body) {
        let Body::Sealed(sealed) = body else {
            panic!("sealed objects")
        };
        for object in sealed.objects {
            self.objects.insert(seal::address(&object), object.to_vec());
        }
        for keys in sealed.keys {
            self.keys.insert(
                keys.epoch,
                ObjectKeys::from_bytes(keys.epoch, &keys.keys.0).unwrap(),
            );
        }
    }

    fn open(&mut self, vault: polykey_core::ids::VaultId, root: Address) {
        let mut files = BTreeMap::new();
        let tree = Tree::new(&*self, &*self, vault, root);
        for (path, variants) in tree.range("").unwrap() {
            let newest = variants.iter().max_by_key(|v| v.tag).unwrap();
            let kept = self.files.get(&path).filter(|(tag, _)| *tag == newest.tag);
            let value = match kept {
                Some((_, value)) => value.clone(),
                None => tree.read(newest).unwrap().to_vec(),
            };
            files.insert(path, (newest.tag, value));
        }
        self.files = files;
        // Values live in files; only pages stay in memory.
        self.objects
            .retain(|_, o| seal::header(o).unwrap().kind == seal::Kind::Page);
    }

    fn file(&self, path: &str) -> &[u8] {
        &self.files[path].1
    }
}

fn kind(frame: &Frame) -> String {
    match frame {
        Frame::Nodes(_) => "Nodes".into(),
        Frame::Snapshot(_) => "Snapshot".into(),
        Frame::Change(_) => "Change".into(),
        Frame::Part(_) => "Part".into(),
        Frame::Current(n) => format!("Current {}", n.name),
        Frame::Behind(n) => format!("Behind {}", n.name),
        Frame::Refused(r) => format!("Refused {} {}", r.name, r.reason),
        Frame::Gone(r) => format!("Gone {} {}", r.name, r.reason),
        Frame::Bye(_) => "Bye".into(),
        Frame::Ping => "Ping".into(),
    }
}

async fn next(watch: &mut Watch) -> String {
    kind(&watch.next().await.unwrap())
}

async fn nodes(watch: &mut Watch) {
    assert_eq!(next(watch).await, "Nodes");
}

fn files(body: Body) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
    let Body::Files(files) = body else {
        panic!("plain files")
    };
    (
        files
            .put
            .into_iter()
            .map(|f| (f.path, f.value.0.to_vec()))
            .collect(),
        files.removed,
    )
}

#[tokio::test]
async fn a_pod_gets_its_nodes_then_all_of_the_version_then_each_change() {
    let world = World::admitting().await;
    let mut watch = world.watch("app").await;
    let Some(Frame::Nodes(known)) = watch.next().await else {
        panic!("Nodes first")
    };
    assert_eq!(known[0].node, world.services.about.node);
    assert_eq!(known[0].address, "polykey-0.polykey-peers.polykey.svc:1315");
    let mut sidecar = Sidecar::default();
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("db/password"), b"first");

    let large = vec![7; 5_000];
    world
        .rotate(&[("db/password", b"second"), ("tls/key", &large)])
        .await;
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("db/password"), b"second");
    // The same value at another path is the same sealed object: a pod keeps no values, so it must come again.
    let version = world.rotate(&[("tls/copy", &large)]).await;
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("tls/copy"), large);
    assert_eq!(sidecar.version, Some(version));
    world.remove("tls/copy").await;
    world.sync().await;
    sidecar.take(&mut watch).await;
    assert!(!sidecar.files.contains_key("tls/copy"));
    assert!(watch.is_quiet().await);
}

#[tokio::test]
async fn a_first_delivery_is_audited_and_another_is_not() {
    let world = World::admitting().await;
    let read = |h: &Happened| {
        h.kind == Kind::Read && h.outcome == Outcome::Done && h.actor == "shop/app/app-0"
    };
    for _ in 0..2 {
        let mut watch = world.watch("app").await;
        nodes(&mut watch).await;
        assert_eq!(next(&mut watch).await, "Snapshot");
    }
    eventually(async || (world.audited(read) == 1).then_some(())).await;
    world.rotate(&[("a", b"1")]).await;
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Snapshot");
    eventually(async || (world.audited(read) == 2).then_some(())).await;
}

#[tokio::test]
async fn a_rule_with_paths_gives_those_files_and_nothing_else() {
    let mut world = World::new().await;
    world
        .rotate(&[
            ("prod/a", b"1"),
            ("prod/b", b"2"),
            ("dev/a", b"3"),
            ("one", b"4"),
            ("one-more", b"5"),
        ])
        .await;
    let mut rule = world.rule("app");
    rule.paths = vec!["prod/".into(), "one".into()];
    world.rules(vec![rule]).await;
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    let Some(Frame::Snapshot(content)) = watch.next().await else {
        panic!("a snapshot")
    };
    let (put, removed) = files(content.body);
    let expected = [("one", b"4"), ("prod/a", b"1"), ("prod/b", b"2")];
    assert_eq!(
        put,
        expected.map(|(p, v)| (p.to_owned(), v.to_vec())).into()
    );
    assert!(removed.is_empty());

    world.set(&[("prod/a", b"9"), ("dev/a", b"8")]).await;
    world.remove("prod/b").await;
    world.sync().await;
    let mut all = BTreeMap::new();
    let mut gone = Vec::new();
    while gone.is_empty() {
        let Some(Frame::Change(content)) = watch.next().await else {
            panic!("a change")
        };
        let (put, removed) = files(content.body);
        all.extend(put);
        gone.extend(removed);
    }
    assert_eq!(all, [("prod/a".to_owned(), b"9".to_vec())].into());
    assert_eq!(gone, ["prod/b"]);
}

#[tokio::test]
async fn a_large_file_comes_whole_with_and_without_paths_in_the_rule() {
    let mut world = World::new().await;
    let large: Vec<u8> = (0u64..).flat_map(u64::to_le_bytes).take(3 << 20).collect();
    world
        .rotate(&[("a", b"1"), ("large", &large), ("z", &large[..70_000])])
        .await;
    let mut rule = world.rule("parts");
    rule.paths = vec!["large".into(), "z".into()];
    world.rules(vec![world.rule("app"), rule]).await;

    let mut sidecar = Sidecar::default();
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    sidecar.take(&mut watch).await;
    assert!(sidecar.file("large") == large && sidecar.file("z") == &large[..70_000]);

    let mut watch = world.watch("parts").await;
    nodes(&mut watch).await;
    let mut joined: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut frames = 0;
    let mut rest = None;
    loop {
        let (body, more) = match watch.next().await.unwrap() {
            Frame::Snapshot(content) => (content.body, content.more),
            Frame::Part(part) => (part.body, part.more),
            other => panic!("{}", kind(&other)),
        };
        let Body::Files(files) = body else {
            panic!("plain files")
        };
        frames += 1;
        for piece in files.put {
            let file = joined.entry(piece.path).or_default();
            file.extend_from_slice(&piece.value.0);
            rest = piece.rest;
        }
        if !more {
            break;
        }
    }
    assert!(frames >= 3, "no frame holds much more than a part");
    assert_eq!(rest, None);
    assert_eq!(joined.keys().collect::<Vec<_>>(), ["large", "z"]);
    assert!(joined["large"] == large && joined["z"] == large[..70_000]);
    // Another path changes: what is large is not sent again.
    world.rotate(&[("z", b"now small")]).await;
    let Some(Frame::Change(content)) = watch.next().await else {
        panic!("a change")
    };
    let (put, _) = files(content.body);
    assert_eq!(put, [("z".to_owned(), b"now small".to_vec())].into());
}

#[tokio::test]
async fn a_caveat_of_the_owner_limits_what_a_rule_for_the_whole_vault_gives() {
    let mut world = World::new().await;
    let me = world.services.about.node;
    world.rotate(&[("prod/a", b"1"), ("dev/a", b"3")]).await;
    world.laptop.revoke(&world.vault, me).await.unwrap();
    let caveat = |namespace: &str| Caveat {
        cluster: String::new(),
        namespaces: vec![namespace.into()],
        service_accounts: vec![],
        paths: vec!["prod/".into()],
    };
    world
        .laptop
        .grant(&world.vault, me, Role::Reader, None, Some(caveat("shop")))
        .await
        .unwrap();
    world.sync().await;
    world.rules(vec![world.rule("app")]).await;
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    let Some(Frame::Snapshot(content)) = watch.next().await else {
        panic!("a snapshot")
    };
    assert_eq!(
        files(content.body).0.into_keys().collect::<Vec<_>>(),
        ["prod/a"]
    );
}

#[tokio::test]
async fn each_missing_key_is_named() {
    let mut world = World::new().await;
    let mut unlisted = world.rule("unlisted");
    unlisted.subjects = vec!["shop:other".into()];
    let mut unknown = world.rule("unknown");
    unknown.vault = polykey_core::ids::VaultId::from([9; 32]);
    let mut pinned = world.rule("pinned");
    pinned.version = Some(CommitId::from([3; 32]));
    let mut signed = world.rule("signed");
    signed.signers = vec![world.services.about.node];
    let mut held = world.rule("held");
    held.suspend = true;
    world
        .rules(vec![unlisted, unknown, pinned, signed, held])
        .await;
    let mut watch = world
        .watch("unlisted,unknown,pinned,signed,held,none")
        .await;
    nodes(&mut watch).await;
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(next(&mut watch).await);
    }
    told.sort();
    assert_eq!(
        told,
        [
            "Refused held Suspended",
            "Refused none VaultNotFound",
            "Refused pinned PinMissing",
            "Refused signed SignerNotListed",
            "Refused unknown VaultNotFound",
            "Refused unlisted ServiceAccountNotListed",
        ]
    );
    assert!(watch.is_quiet().await, "each is said once");
    let rows = world.services.watches.consumers().list();
    let refused: Vec<_> = rows
        .iter()
        .map(|r| (r.name.as_str(), r.state.as_str()))
        .collect();
    assert_eq!(
        refused,
        [
            ("held", "refused"),
            ("pinned", "refused"),
            ("signed", "refused"),
            ("unknown", "refused"),
            ("unlisted", "refused")
        ],
        "a name that no rule has gets no row"
    );
    // The third key: no peer admits the namespace.
    let mut set = world.access_set(vec![world.rule("app")]);
    set.peers[0].namespaces = vec!["other".into()];
    let _: serde_json::Value = world
        .admin()
        .await
        .call(hyper::Method::PUT, "/v1/access", &set.sealed())
        .await
        .unwrap();
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Refused app NamespaceNotAdmitted");
}

#[tokio::test]
async fn another_namespace_does_not_see_the_rule() {
    let world = World::admitting().await;
    let token = world.token("other", "app", "app-0");
    let mut watch = world.watch_as(&token, "names=app").await.unwrap();
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Refused app VaultNotFound");
}

#[tokio::test]
async fn access_that_is_taken_back_ends_at_once_and_may_come_again() {
    let mut world = World::admitting().await;
    let mut watch = world.watch("app").await;
    let mut sidecar = Sidecar::default();
    nodes(&mut watch).await;
    sidecar.take(&mut watch).await;
    let mut other = world.rule("app");
    other.subjects = vec!["shop:other".into()];
    world.rules(vec![other]).await;
    let put = Instant::now();
    assert_eq!(next(&mut watch).await, "Gone app ServiceAccountNotListed");
    assert!(
        put.elapsed() < Duration::from_millis(200),
        "{:?}",
        put.elapsed()
    );
    world.rotate(&[("db/password", b"not for you")]).await;
    assert!(watch.is_quiet().await);
    world.rules(vec![world.rule("app")]).await;
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("db/password"), b"not for you");
    world.rules(vec![]).await;
    assert_eq!(next(&mut watch).await, "Gone app Deleted");
}

#[tokio::test]
async fn a_vault_that_is_unshared_is_gone_for_pods_too() {
    let world = World::admitting().await;
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Snapshot");
    world
        .laptop
        .revoke(&world.vault, world.services.about.node)
        .await
        .unwrap();
    world.sync().await;
    assert_eq!(next(&mut watch).await, "Gone app NotGranted");
    let mut again = world.watch("app").await;
    nodes(&mut again).await;
    assert_eq!(next(&mut again).await, "Refused app NotGranted");
}

#[tokio::test]
async fn a_watch_takes_up_where_the_one_before_ended() {
    let world = World::admitting().await;
    let first = world
        .services
        .vaults
        .served(&world.vault, None)
        .unwrap()
        .version;
    let token = world.pod_token();
    let mut watch = world
        .watch_as(&token, &format!("names=app&have={first}"))
        .await
        .unwrap();
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Current app");
    world.rotate(&[("x", b"1")]).await;
    let Some(Frame::Change(change)) = watch.next().await else {
        panic!("a change")
    };
    assert!(
        !change.control.is_empty(),
        "the control log is not known to have been sent"
    );
    drop(watch);

    let mut older = world
        .watch_as(&token, &format!("names=app&have={first}"))
        .await
        .unwrap();
    nodes(&mut older).await;
    Sidecar::default().take(&mut older).await;

    let ahead = world.set(&[("x", b"2")]).await;
    let mut behind = world
        .watch_as(&token, &format!("names=app&have={ahead}"))
        .await
        .unwrap();
    nodes(&mut behind).await;
    assert_eq!(next(&mut behind).await, "Behind app");
    world.sync().await;
    assert_eq!(next(&mut behind).await, "Current app");
}

#[tokio::test]
async fn a_suspended_rule_holds_pods_at_what_they_have() {
    let mut world = World::admitting().await;
    let first = world
        .services
        .vaults
        .served(&world.vault, None)
        .unwrap()
        .version;
    let mut running = world.watch("app").await;
    let mut sidecar = Sidecar::default();
    nodes(&mut running).await;
    sidecar.take(&mut running).await;
    let mut held = world.rule("app");
    held.suspend = true;
    world.rules(vec![held]).await;
    world.rotate(&[("db/password", b"second")]).await;
    assert!(running.is_quiet().await);
    let token = world.token("shop", "app", "app-1");
    let mut fresh = world.watch_as(&token, "names=app").await.unwrap();
    nodes(&mut fresh).await;
    assert_eq!(next(&mut fresh).await, "Refused app Suspended");
    let token = world.token("shop", "app", "app-2");
    let mut resumed = world
        .watch_as(&token, &format!("names=app&have={first}"))
        .await
        .unwrap();
    nodes(&mut resumed).await;
    assert_eq!(next(&mut resumed).await, "Current app");
    world.rules(vec![world.rule("app")]).await;
    sidecar.take(&mut running).await;
    assert_eq!(sidecar.file("db/password"), b"second");
    assert_eq!(next(&mut resumed).await, "Snapshot");
    assert_eq!(next(&mut fresh).await, "Snapshot");
}

#[tokio::test]
async fn a_pin_serves_that_version_and_says_so() {
    let mut world = World::admitting().await;
    let first = world
        .services
        .vaults
        .served(&world.vault, None)
        .unwrap()
        .version;
    world.rotate(&[("db/password", b"second")]).await;
    let mut watch = world.watch("app").await;
    let mut sidecar = Sidecar::default();
    nodes(&mut watch).await;
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("db/password"), b"second");
    let mut pinned = world.rule("app");
    pinned.version = Some(first);
    world.rules(vec![pinned]).await;
    let Some(Frame::Change(content)) = watch.next().await else {
        panic!("a change")
    };
    assert!(content.pinned && content.version == first);
    world.rotate(&[("db/password", b"third")]).await;
    assert!(watch.is_quiet().await);
}

#[tokio::test]
async fn a_reader_that_sleeps_through_changes_gets_the_newest_and_not_all() {
    let world = World::admitting().await;
    let mut watch = world.watch("app").await;
    let mut sidecar = Sidecar::default();
    nodes(&mut watch).await;
    sidecar.take(&mut watch).await;
    // Each version is larger than what the buffers between node and pod take, so the node waits for its reader.
    let mut last = sidecar.version.unwrap();
    for round in 0..12u8 {
        let values: Vec<(String, Vec<u8>)> = (0..64u8)
            .map(|n| (format!("big/{n}"), vec![round ^ n; 60_000]))
            .collect();
        let values: Vec<(&str, &[u8])> = values
            .iter()
            .map(|(p, v)| (p.as_str(), v.as_slice()))
            .collect();
        last = world.rotate(&values).await;
    }
    let mut versions = 0;
    while sidecar.version != Some(last) {
        sidecar.take(&mut watch).await;
        versions += 1;
    }
    assert!(versions < 12, "{versions} versions");
    assert_eq!(sidecar.file("big/5")[0], 0b1011 ^ 0b0101);
}

#[tokio::test]
async fn a_large_vault_comes_in_parts_within_the_limit() {
    let world = World::admitting().await;
    let mut value = vec![0; 60_000];
    for n in 0..100u8 {
        value[0] = n;
        world.set(&[(&format!("big/{n}"), &value)]).await;
    }
    world.sync().await;
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    let Some(Frame::Snapshot(content)) = watch.next().await else {
        panic!("a snapshot")
    };
    assert!(content.more);
    let mut parts = 1;
    let mut more = content.more;
    while more {
        let frame = watch.next().await.unwrap();
        assert!(frame.to_bytes().len() <= MAX_FRAME);
        let Frame::Part(part) = frame else {
            panic!("a part")
        };
        more = part.more;
        parts += 1;
    }
    assert!(parts >= 6, "{parts} parts");
}

#[tokio::test]
async fn before_the_first_set_a_watch_is_told_to_come_again() {
    let world = World::new().await;
    let refused = world
        .watch_as(&world.pod_token(), "names=app")
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, polykey_client::error::Code::NoAccessRules);
}

#[tokio::test]
async fn a_stopping_node_says_goodbye() {
    let mut world = World::admitting().await;
    let mut watch = world.watch("app").await;
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Snapshot");
    assert_eq!(world.probe("/readyz").await.0, 200);
    let stopping = tokio::spawn(
        world
            .servers
            .take()
            .unwrap()
            .stop_within(Duration::from_millis(200)),
    );
    assert_eq!(next(&mut watch).await, "Bye");
    assert!(watch.next().await.is_none());
    stopping.await.unwrap();
    assert_eq!(world.probe("/readyz").await, (503, "stopping\n".to_owned()));
    assert!(!world.socket.exists());
}
