//! Puts a [`Disk`] under programs, as a FUSE file system in which nothing is cached: every write and every sync of theirs reaches the disk at once and as they made it.
//! `sync_file_range` does not reach it, as it does not reach a real disk's platters.

use crate::chance::Chance;
use crate::disk::{Disk, Losses, ROOT, Refused, Seen};
use anyhow::{Context, Result};
use fuser::consts::FOPEN_DIRECT_IO;
use fuser::{
    BackgroundSession, FileAttr, FileType, Filesystem, MountOption, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Nothing may be remembered by the kernel: after a cut it is no longer so.
const UNCACHED: Duration = Duration::ZERO;

/// A mounted disk.
pub struct Mount {
    disk: Arc<Mutex<Disk>>,
    /// Before the directory, so that it is unmounted when that is removed.
    session: Option<BackgroundSession>,
    dir: TempDir,
}

impl Mount {
    /// An empty disk, mounted somewhere.
    ///
    /// # Errors
    /// When this process may not mount: it needs root and `/dev/fuse`.
    pub fn new() -> Result<Mount> {
        let dir = tempfile::Builder::new().prefix("polykey-disk-").tempdir()?;
        let mut mount = Mount {
            disk: Arc::new(Mutex::new(Disk::new())),
            session: None,
            dir,
        };
        mount.attach()?;
        Ok(mount)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_path_buf()
    }

    /// The disk itself.
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// Puts the power on again, once nobody uses the disk any more: what the cut left is what is there.
    ///
    /// # Errors
    /// When it cannot be mounted again.
    pub fn restore(&mut self, chance: &mut Chance) -> Result<Losses> {
        // What the kernel still knows of files is from before the cut.
        drop(self.session.take());
        let losses = self.disk().restore(chance);
        self.attach()?;
        Ok(losses)
    }

    fn attach(&mut self) -> Result<()> {
        let options = [
            MountOption::FSName("polykey-power".to_owned()),
            MountOption::DefaultPermissions,
        ];
        let calls = Calls(self.disk.clone());
        let session = fuser::spawn_mount2(calls, self.dir.path(), &options);
        self.session = Some(session.context("cannot mount a file system")?);
        Ok(())
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the kernel asks.
struct Calls(Arc<Mutex<Disk>>);

impl Calls {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }
}

fn errno(refused: Refused) -> i32 {
    let errno = match refused {
        Refused::Off => Errno::IO,
        Refused::Missing => Errno::NOENT,
        Refused::Exists => Errno::EXIST,
        Refused::Kind => Errno::NOTDIR,
        Refused::NotEmpty => Errno::NOTEMPTY,
        Refused::TooLarge => Errno::FBIG,
    };
    errno.raw_os_error()
}

fn attributes(seen: Seen, request: &Request<'_>) -> FileAttr {
    let then = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: seen.node,
        size: seen.length,
        blocks: seen.length.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind: kind(seen),
        perm: if seen.directory { 0o700 } else { 0o600 },
        nlink: 1,
        uid: request.uid(),
        gid: request.gid(),
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

fn kind(seen: Seen) -> FileType {
    if seen.directory {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

fn entry(result: Result<Seen, Refused>, request: &Request<'_>, reply: ReplyEntry) {
    match result {
        Ok(seen) => reply.entry(&UNCACHED, &attributes(seen, request), 0),
        Err(refused) => reply.error(errno(refused)),
    }
}

fn attr(result: Result<Seen, Refused>, request: &Request<'_>, reply: ReplyAttr) {
    match result {
        Ok(seen) => reply.attr(&UNCACHED, &attributes(seen, request)),
        Err(refused) => reply.error(errno(refused)),
    }
}

fn empty(result: Result<(), Refused>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(refused) => reply.error(errno(refused)),
    }
}

/// An offset or length from the kernel; it gives no negative ones.
fn size(from: impl TryInto<usize>) -> usize {
    from.try_into().unwrap_or(usize::MAX)
}

impl Filesystem for Calls {
    fn lookup(&mut self, request: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        entry(self.disk().find(parent, name), request, reply);
    }

    fn getattr(&mut self, request: &Request<'_>, node: u64, _: Option<u64>, reply: ReplyAttr) {
        attr(self.disk().look(node), request, reply);
    }

    fn setattr(
        &mut self,
        request: &Request<'_>,
        node: u64,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        length: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<u64>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<u32>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let resized = length.map_or(Ok(()), |length| disk.resize(node, size(length)));
        attr(resized.and_then(|()| disk.look(node)), request, reply);
    }

    fn mkdir(
        &mut self,
        request: &Request<'_>,
        parent: u64,
        name: &OsStr,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        entry(self.disk().make(parent, name, true), request, reply);
    }

    fn create(
        &mut self,
        request: &Request<'_>,
        parent: u64,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.disk().make(parent, name, false) {
            Ok(seen) => reply.created(&UNCACHED, &attributes(seen, request), 0, 0, FOPEN_DIRECT_IO),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn unlink(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().unlink(parent, name), reply);
    }

    fn rmdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().unlink(parent, name), reply);
    }

    fn link(
        &mut self,
        request: &Request<'_>,
        node: u64,
        parent: u64,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        entry(self.disk().link(node, parent, name), request, reply);
    }

    fn rename(
        &mut self,
        _: &Request<'_>,
        parent: u64,
        name: &OsStr,
        to: u64,
        new: &OsStr,
        _: u32,
        reply: ReplyEmpty,
    ) {
        empty(self.disk().rename((parent, name), (to, new)), reply);
    }

    fn open(&mut self, _: &Request<'_>, node: u64, _: i32, reply: ReplyOpen) {
        match self.disk().look(node) {
            Ok(_) => reply.opened(0, FOPEN_DIRECT_IO),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        node: u64,
        _: u64,
        offset: i64,
        length: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        match self.disk().read(node, size(offset), size(length)) {
            Ok(bytes) => reply.data(&bytes),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        node: u64,
        _: u64,
        offset: i64,
        bytes: &[u8],
        _: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyWrite,
    ) {
        match self.disk().write(node, size(offset), bytes) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn fsync(&mut self, _: &Request<'_>, node: u64, _: u64, _: bool, reply: ReplyEmpty) {
        empty(self.disk().sync(node), reply);
    }

    fn fsyncdir(&mut self, _: &Request<'_>, node: u64, _: u64, _: bool, reply: ReplyEmpty) {
        empty(self.disk().sync(node), reply);
    }

    /// There is room: what a full disk does is the business of other tests.
    fn statfs(&mut self, _: &Request<'_>, _: u64, reply: ReplyStatfs) {
        const BLOCKS: u64 = 1 << 20;
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4_096, 255, 4_096);
    }

    fn readdir(
        &mut self,
        _: &Request<'_>,
        node: u64,
        _: u64,
        offset: i64,
        mut reply: ReplyDirectory,
    ) {
        let listed = match self.disk().list(node) {
            Ok(listed) => listed,
            Err(refused) => return reply.error(errno(refused)),
        };
        let dots = [".", ".."].map(|dot| {
            (
                dot.into(),
                Seen {
                    node: ROOT,
                    length: 0,
                    directory: true,
                },
            )
        });
        for (at, (name, seen)) in (1..).zip(dots.into_iter().chain(listed)).skip(size(offset)) {
            if reply.add(seen.node, at, kind(seen), &name) {
                break;
            }
        }
        reply.ok();
    }
}

/// Whether this machine lets a program mount.
pub fn possible() -> bool {
    Path::new("/dev/fuse").exists() && rustix::process::geteuid().is_root()
}
