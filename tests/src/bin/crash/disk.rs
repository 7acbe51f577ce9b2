//! A disk that loses power: it knows which writes were synced, and at a cut keeps of the others whatever a real one might.
//!
//! Values alone, no file system: `mount` puts it under a program. The rules are those that a program may rely on, and no more: `fsync` and `fdatasync` make a file's
//! contents and length durable, and nothing else of it; a name is durable when its directory was synced. Of what was not synced, any write may be there, or not, or in
//! part by sectors of 512 bytes, in any order.

use crate::chance::Chance;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// The root directory's number, as FUSE has it.
pub const ROOT: u64 = 1;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// The longest file: a store in a test stays far below.
const MAX_FILE: usize = 1 << 30;

/// Why a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The power is off.
    Off,
    /// No such file.
    Missing,
    /// The name is taken.
    Exists,
    /// A directory where a file is wanted, or the other way round.
    Kind,
    /// A directory that is not empty.
    NotEmpty,
    /// A file over the bound.
    TooLarge,
}

/// A change of a file.
enum Write {
    At(usize, Vec<u8>),
    Length(usize),
}

/// A change of a directory.
enum Change {
    Link(OsString, u64),
    Unlink(OsString),
    /// From, to: one change on a disk as well.
    Rename(OsString, OsString),
}

/// What is at a number.
enum Node {
    File(State<Vec<u8>, Write>),
    Directory(State<BTreeMap<OsString, u64>, Change>),
}

/// Contents as programs see them, as they are on the platters, and the changes between the two.
struct State<C, W> {
    now: C,
    synced: C,
    pending: Vec<W>,
}

impl<C: Default, W> Default for State<C, W> {
    fn default() -> Self {
        State {
            now: C::default(),
            synced: C::default(),
            pending: Vec::new(),
        }
    }
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Write::Length(length) => to.resize(*length, 0),
            Write::At(at, bytes) => {
                let end = at + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(bytes);
            }
        }
    }

    /// The sectors of it that `chance` keeps, each by itself.
    fn torn(&self, chance: &mut Chance) -> Vec<Write> {
        let Write::At(at, bytes) = self else {
            return Vec::new();
        };
        let (mut kept, mut from) = (Vec::new(), 0);
        while from < bytes.len() {
            let until = (from + SECTOR - (at + from) % SECTOR).min(bytes.len());
            if chance.below(2) == 0 {
                kept.push(Write::At(at + from, bytes[from..until].to_vec()));
            }
            from = until;
        }
        kept
    }
}

impl Change {
    fn apply(&self, to: &mut BTreeMap<OsString, u64>) {
        match self {
            Change::Link(name, node) => drop(to.insert(name.clone(), *node)),
            Change::Unlink(name) => drop(to.remove(name)),
            Change::Rename(from, name) => {
                if let Some(node) = to.remove(from) {
                    to.insert(name.clone(), node);
                }
            }
        }
    }
}

/// What a cut did to the changes that were not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Kept whole.
    pub kept: u64,
    /// Kept in part.
    pub torn: u64,
    /// Gone.
    pub gone: u64,
}

/// How a cut treats what was not synced.
#[derive(Clone, Copy)]
enum Mood {
    /// All of it is gone.
    Nothing,
    /// What came first is there.
    Beginning,
    /// Anything of it.
    Any,
}

/// What a program sees of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub node: u64,
    /// Length in bytes; of a directory 0.
    pub length: u64,
    /// Whether it is a directory.
    pub directory: bool,
}

/// The disk.
pub struct Disk {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Changes and syncs until the power goes; `None` while nobody asked for it.
    left: Option<u64>,
    off: bool,
    /// Says that it syncs and does not: what the control run is about.
    deaf: bool,
    syncs: u64,
}

type Done<T> = Result<T, Refused>;

impl Disk {
    /// An empty one.
    pub fn new() -> Disk {
        Disk {
            nodes: BTreeMap::from([(ROOT, Node::Directory(State::default()))]),
            next: ROOT + 1,
            left: None,
            off: false,
            deaf: false,
            syncs: 0,
        }
    }

    /// Cuts the power before the change or sync that comes after `changes` others.
    pub fn cut_after(&mut self, changes: u64) {
        self.left = Some(changes);
    }

    /// Cuts the power now.
    pub fn cut(&mut self) {
        self.off = true;
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// From now on a sync does nothing, or again what it should.
    pub fn ignore_syncs(&mut self, deaf: bool) {
        self.deaf = deaf;
    }

    /// How many syncs there were.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Decides what is left, and puts the power on again.
    pub fn restore(&mut self, chance: &mut Chance) -> Losses {
        let mut losses = Losses::default();
        let mood = match chance.below(4) {
            0 => Mood::Nothing,
            1 => Mood::Beginning,
            _ => Mood::Any,
        };
        let nothing = |_: &Change, _: &mut Chance| Vec::new();
        let lost = &mut losses;
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => survive(file, mood, chance, lost, Write::apply, Write::torn),
                Node::Directory(dir) => survive(dir, mood, chance, lost, Change::apply, nothing),
            }
        }
        self.forget_unreachable();
        (self.off, self.left, self.deaf) = (false, None, false);
        losses
    }

    /// Files that no name leads to any more are not there. A name whose directory was lost with its file's number cannot be: numbers are never used again.
    fn forget_unreachable(&mut self) {
        let (mut reached, mut open) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(node) = open.pop() {
            if let Some(Node::Directory(dir)) = self.nodes.get(&node) {
                open.extend(dir.now.values().filter(|n| reached.insert(**n)));
            }
        }
        self.nodes.retain(|node, _| reached.contains(node));
    }

    /// Counts a change; the power may go before it.
    fn change(&mut self) -> Done<()> {
        if let Some(left) = &mut self.left {
            self.off |= *left == 0;
            *left = left.saturating_sub(1);
        }
        self.on()
    }

    fn on(&self) -> Done<()> {
        if self.off { Err(Refused::Off) } else { Ok(()) }
    }

    fn file(&mut self, node: u64) -> Done<&mut State<Vec<u8>, Write>> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(Refused::Kind),
            None => Err(Refused::Missing),
        }
    }

    fn directory(&mut self, node: u64) -> Done<&mut State<BTreeMap<OsString, u64>, Change>> {
        match self.nodes.get_mut(&node) {
            Some(Node::Directory(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(Refused::Kind),
            None => Err(Refused::Missing),
        }
    }

    /// What is at a number.
    pub fn look(&self, node: u64) -> Done<Seen> {
        self.on()?;
        let (length, directory) = match self.nodes.get(&node).ok_or(Refused::Missing)? {
            Node::File(file) => (file.now.len() as u64, false),
            Node::Directory(_) => (0, true),
        };
        Ok(Seen {
            node,
            length,
            directory,
        })
    }

    /// What a directory has under a name.
    pub fn find(&mut self, directory: u64, name: &OsStr) -> Done<Seen> {
        self.on()?;
        let node = self.directory(directory)?.now.get(name).copied();
        self.look(node.ok_or(Refused::Missing)?)
    }

    /// All names of a directory.
    pub fn list(&mut self, directory: u64) -> Done<Vec<(OsString, Seen)>> {
        self.on()?;
        let names: Vec<_> = self.directory(directory)?.now.clone().into_iter().collect();
        names
            .into_iter()
            .map(|(name, node)| Ok((name, self.look(node)?)))
            .collect()
    }

    /// Makes an empty file or directory.
    pub fn make(&mut self, parent: u64, name: &OsStr, directory: bool) -> Done<Seen> {
        self.change()?;
        if self.directory(parent)?.now.contains_key(name) {
            return Err(Refused::Exists);
        }
        let node = self.next;
        self.next += 1;
        let made = if directory {
            Node::Directory(State::default())
        } else {
            Node::File(State::default())
        };
        self.nodes.insert(node, made);
        self.enter(parent, Change::Link(name.to_owned(), node))?;
        self.look(node)
    }

    /// Gives a file a second name.
    pub fn link(&mut self, node: u64, parent: u64, name: &OsStr) -> Done<Seen> {
        self.change()?;
        if self.directory(parent)?.now.contains_key(name) {
            return Err(Refused::Exists);
        }
        self.enter(parent, Change::Link(name.to_owned(), node))?;
        self.look(node)
    }

    /// Takes a name away, of a file or of an empty directory.
    pub fn unlink(&mut self, parent: u64, name: &OsStr) -> Done<()> {
        self.change()?;
        let node = self
            .directory(parent)?
            .now
            .get(name)
            .copied()
            .ok_or(Refused::Missing)?;
        if self.directory(node).is_ok_and(|dir| !dir.now.is_empty()) {
            return Err(Refused::NotEmpty);
        }
        self.enter(parent, Change::Unlink(name.to_owned()))
    }

    /// Moves a name, over another file's if there is one.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Done<()> {
        self.change()?;
        let node = self
            .directory(from.0)?
            .now
            .get(from.1)
            .copied()
            .ok_or(Refused::Missing)?;
        if from.0 == to.0 {
            return self.enter(from.0, Change::Rename(from.1.to_owned(), to.1.to_owned()));
        }
        self.enter(to.0, Change::Link(to.1.to_owned(), node))?;
        self.enter(from.0, Change::Unlink(from.1.to_owned()))
    }

    fn enter(&mut self, directory: u64, change: Change) -> Done<()> {
        let dir = self.directory(directory)?;
        change.apply(&mut dir.now);
        dir.pending.push(change);
        Ok(())
    }

    /// Bytes of a file.
    pub fn read(&mut self, node: u64, at: usize, length: usize) -> Done<Vec<u8>> {
        self.on()?;
        let now = &self.file(node)?.now;
        let from = at.min(now.len());
        Ok(now[from..(from + length).min(now.len())].to_vec())
    }

    /// Writes bytes into a file.
    pub fn write(&mut self, node: u64, at: usize, bytes: &[u8]) -> Done<()> {
        self.put(
            node,
            Write::At(at, bytes.to_vec()),
            at.saturating_add(bytes.len()),
        )
    }

    /// Gives a file another length.
    pub fn resize(&mut self, node: u64, length: usize) -> Done<()> {
        self.put(node, Write::Length(length), length)
    }

    fn put(&mut self, node: u64, write: Write, end: usize) -> Done<()> {
        self.change()?;
        if end > MAX_FILE {
            return Err(Refused::TooLarge);
        }
        let file = self.file(node)?;
        write.apply(&mut file.now);
        file.pending.push(write);
        Ok(())
    }

    /// Makes a file's contents durable, or a directory's names.
    pub fn sync(&mut self, node: u64) -> Done<()> {
        self.change()?;
        self.syncs += 1;
        if self.deaf {
            return self.look(node).map(drop);
        }
        match self.nodes.get_mut(&node).ok_or(Refused::Missing)? {
            Node::File(file) => file
                .pending
                .drain(..)
                .for_each(|w| w.apply(&mut file.synced)),
            Node::Directory(dir) => dir.pending.drain(..).for_each(|c| c.apply(&mut dir.synced)),
        }
        Ok(())
    }
}

fn survive<C: Clone, W>(
    state: &mut State<C, W>,
    mood: Mood,
    chance: &mut Chance,
    losses: &mut Losses,
    apply: impl Fn(&W, &mut C),
    torn: impl Fn(&W, &mut Chance) -> Vec<W>,
) {
    let beginning = chance.below(state.pending.len() as u64 + 1);
    for (at, change) in (0..).zip(state.pending.drain(..)) {
        let fate = match mood {
            Mood::Beginning if at < beginning => 0,
            // What was being written when the power went may be there in part.
            Mood::Beginning if at == beginning => 1,
            Mood::Nothing | Mood::Beginning => 2,
            Mood::Any => chance.below(3),
        };
        match fate {
            0 => {
                apply(&change, &mut state.synced);
                losses.kept += 1;
            }
            1 => {
                for part in torn(&change, chance) {
                    apply(&part, &mut state.synced);
                }
                losses.torn += 1;
            }
            _ => losses.gone += 1,
        }
    }
    state.now = state.synced.clone();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    /// A file of a synced directory, with `synced` durable in it and `later` written behind.
    fn written(synced: &[u8], later: &[u8]) -> (Disk, u64) {
        let mut disk = Disk::new();
        let file = disk.make(ROOT, name("f"), false).unwrap().node;
        disk.write(file, 0, synced).unwrap();
        disk.sync(file).unwrap();
        disk.sync(ROOT).unwrap();
        disk.write(file, synced.len(), later).unwrap();
        (disk, file)
    }

    #[test]
    fn what_was_synced_survives_every_cut_and_what_was_not_is_sometimes_lost_kept_and_torn() {
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let (mut disk, file) = written(&[1; 700], &[2; 3_000]);
            disk.cut();
            disk.restore(&mut Chance::new(Some(seed)));
            let left = disk.read(file, 0, 10_000).unwrap();
            assert_eq!(left[..700], [1; 700]);
            match left[700..]
                .iter()
                .map(|b| usize::from(*b == 2))
                .sum::<usize>()
            {
                0 => lost += 1,
                3_000 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 20 && kept > 20 && torn > 20, "{lost} {kept} {torn}");
    }

    #[test]
    fn a_file_whose_directory_was_not_synced_may_be_gone_with_all_that_it_held() {
        let gone = (0..50).filter(|seed| {
            let mut disk = Disk::new();
            let file = disk.make(ROOT, name("f"), false).unwrap().node;
            disk.write(file, 0, b"synced").unwrap();
            disk.sync(file).unwrap();
            disk.cut();
            disk.restore(&mut Chance::new(Some(*seed)));
            match disk.find(ROOT, name("f")) {
                Err(refused) => refused == Refused::Missing,
                Ok(seen) => {
                    assert_eq!(disk.read(seen.node, 0, 10).unwrap(), b"synced");
                    false
                }
            }
        });
        let gone = gone.count();
        assert!(gone > 5 && gone < 45, "{gone}");
    }

    #[test]
    fn a_rename_that_was_not_synced_leaves_the_old_file_or_the_new_one_and_never_none() {
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let (mut disk, _) = written(b"old", b"");
            let next = disk.make(ROOT, name("next"), false).unwrap().node;
            disk.write(next, 0, b"new").unwrap();
            disk.sync(next).unwrap();
            disk.rename((ROOT, name("next")), (ROOT, name("f")))
                .unwrap();
            disk.cut();
            disk.restore(&mut Chance::new(Some(seed)));
            let file = disk.find(ROOT, name("f")).unwrap().node;
            seen.insert(disk.read(file, 0, 10).unwrap());
        }
        assert_eq!(seen, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
    }

    #[test]
    fn the_power_goes_before_the_change_that_was_asked_for_and_nothing_works_until_it_is_back() {
        let (mut disk, file) = written(b"a", b"");
        disk.cut_after(1);
        disk.write(file, 0, b"b").unwrap();
        assert_eq!(disk.sync(file), Err(Refused::Off));
        assert_eq!(disk.read(file, 0, 1), Err(Refused::Off));
        assert!(disk.is_off());
        disk.restore(&mut Chance::new(Some(1)));
        assert!(disk.read(file, 0, 1).is_ok());
    }

    #[test]
    fn a_disk_that_ignores_syncs_loses_what_was_synced() {
        let lost = (0..50).filter(|seed| {
            let (mut disk, file) = written(b"", b"");
            disk.ignore_syncs(true);
            disk.write(file, 0, b"said to be safe").unwrap();
            disk.sync(file).unwrap();
            disk.cut();
            disk.restore(&mut Chance::new(Some(*seed)));
            disk.read(file, 0, 100).unwrap() != b"said to be safe"
        });
        assert!(lost.count() > 10);
    }
}
