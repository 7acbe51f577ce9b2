//! What a pod makes of the frames of a watch: it keeps pages and keys, checks each version up to its root, and reads the values.

use super::world::{Watch, World};
use polykey_client::watch::{Body, Content, Frame};
use polykey_core::commit::SignedCommit;
use polykey_core::control::{Control, SignedOp};
use polykey_core::ids::{Address, CommitId, EpochId};
use polykey_core::seal::{self, ObjectKeys};
use polykey_core::tree::{Keyring, Objects, Tree};
use std::collections::{BTreeMap, HashMap};

/// What a sidecar keeps of a vault: pages and keys, and the values in its files.
#[derive(Default)]
pub struct Sidecar {
    pub objects: HashMap<Address, Vec<u8>>,
    pub keys: HashMap<EpochId, ObjectKeys>,
    pub control: Option<Control>,
    pub files: BTreeMap<String, (polykey_core::ids::Tag, Vec<u8>)>,
    pub version: Option<CommitId>,
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
    pub async fn take(&mut self, watch: &mut Watch) {
        match watch.next().await.unwrap() {
            Frame::Snapshot(content) => {
                *self = Sidecar::default();
                self.take_content(content, watch).await;
            }
            Frame::Change(content) => self.take_content(content, watch).await,
            other => panic!("{}", kind(&other)),
        }
    }

    pub async fn take_content(&mut self, content: Content, watch: &mut Watch) {
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

    pub fn verify(&mut self, content: &Content) {
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

    pub fn take_body(&mut self, body: Body) {
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

    pub fn open(&mut self, vault: polykey_core::ids::VaultId, root: Address) {
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

    pub fn file(&self, path: &str) -> &[u8] {
        &self.files[path].1
    }
}

/// The watch of a pod that has heard which nodes there are.
pub async fn watching(world: &World, names: &str) -> Watch {
    let mut watch = world.watch(names).await;
    nodes(&mut watch).await;
    watch
}

/// The watch of a pod of the rule `app`, and its sidecar with the first version.
pub async fn following(world: &World) -> (Watch, Sidecar) {
    let mut watch = watching(world, "app").await;
    let mut sidecar = Sidecar::default();
    sidecar.take(&mut watch).await;
    (watch, sidecar)
}

pub fn kind(frame: &Frame) -> String {
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

pub async fn next(watch: &mut Watch) -> String {
    kind(&watch.next().await.unwrap())
}

pub async fn nodes(watch: &mut Watch) {
    assert_eq!(next(watch).await, "Nodes");
}

/// The next frame, which is the beginning of a whole version.
pub async fn snapshot(watch: &mut Watch) -> Content {
    match watch.next().await.unwrap() {
        Frame::Snapshot(content) => content,
        other => panic!("{} for a snapshot", kind(&other)),
    }
}

/// The next frame, which is the beginning of a change.
pub async fn change(watch: &mut Watch) -> Content {
    match watch.next().await.unwrap() {
        Frame::Change(content) => content,
        other => panic!("{} for a change", kind(&other)),
    }
}

pub fn files(body: Body) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
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
