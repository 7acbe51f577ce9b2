//! One PolykeyVault of the pod: its directory, what is verified of it, and what happens with each version that a node sends.

use crate::board::{Board, Standing};
use crate::downward::Pins;
use crate::files::{Entry, Source, VaultDir, WriteError, replace_file};
use crate::floor::State;
use crate::layout;
use crate::verify::{self, Anchor, Arriving, Held, Rejected};
use anyhow::Context;
use polykey_client::api::Ack;
use polykey_client::watch::{Content, MAX_HAVE_HEADS, Part};
use polykey_core::ids::CommitId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::{info, warn};

/// Directory of the files that containers take environment variables from.
const ENVIRONMENT: &str = ".env";

/// What came of a frame.
pub enum Applied {
    /// More parts must come first.
    More,
    /// The version is in the files; tell the node.
    Written(Ack),
    /// The version is right but cannot be files here; the old files stay.
    Unusable(Ack),
    /// The version does not verify: the node that sent it is not to be trusted with this vault.
    Untrusted(Ack, String),
}

/// One vault of the pod.
pub struct Vault {
    name: String,
    dir: VaultDir,
    anchor: Anchor,
    held: Option<Held>,
    arriving: Option<Arriving>,
    environment: Option<(PathBuf, BTreeSet<String>)>,
    board: Arc<Board>,
    state: State,
}

/// Opens the directories of all vaults and the board that says how they stand.
pub fn open_all(
    volume: &Path,
    names: &[String],
    pins: &Pins,
) -> anyhow::Result<(BTreeMap<String, Vault>, Arc<Board>, State)> {
    let state = State::open(volume).context("cannot use the volume")?;
    let mut dirs = BTreeMap::new();
    for name in names {
        dirs.insert(name.clone(), VaultDir::open(volume.join(name))?);
    }
    let written = dirs
        .iter()
        .map(|(n, d)| (n.clone(), d.has_version()))
        .collect::<Vec<_>>();
    let board = Arc::new(Board::new(volume, written).context("cannot use the volume")?);
    let mut vaults = BTreeMap::new();
    for (name, dir) in dirs {
        let anchor = Anchor {
            pin: pins.vaults.get(&name).copied(),
            floor: state
                .floor(&name)
                .with_context(|| format!("the floor of {name} is damaged"))?,
        };
        let environment = pins
            .environment
            .get(&name)
            .map(|keys| (volume.join(ENVIRONMENT), keys.clone()));
        let vault = Vault {
            name: name.clone(),
            dir,
            anchor,
            held: None,
            arriving: None,
            environment,
            board: board.clone(),
            state: state.clone(),
        };
        vaults.insert(name, vault);
    }
    Ok((vaults, board, state))
}

impl Vault {
    /// The version that this process holds, as `have` of a watch names it, so that a node may send only what changed.
    pub fn held_text(&self) -> Option<String> {
        let heads = self.held.as_ref()?.heads();
        let ids: Vec<String> = heads.iter().map(CommitId::to_string).collect();
        (ids.len() <= MAX_HAVE_HEADS).then(|| ids.join("."))
    }

    /// The version whose objects this process holds.
    pub fn held_version(&self) -> Option<CommitId> {
        self.held.as_ref().map(Held::version)
    }

    /// A version begins to arrive: all of it (`whole`), or what changed since the held one.
    pub fn begin(&mut self, content: Content, whole: bool) -> Applied {
        match Arriving::new(content, whole) {
            Ok(arriving) => {
                self.arriving = Some(arriving);
                self.arrived()
            }
            Err(e) => self.reject(&e),
        }
    }

    /// More of it.
    pub fn part(&mut self, part: Part) -> Applied {
        match self
            .arriving
            .as_mut()
            .ok_or(Rejected::NothingArriving)
            .and_then(|a| a.push(part))
        {
            Ok(()) => self.arrived(),
            Err(e) => self.reject(&e),
        }
    }

    /// The node serves the version that is held.
    pub fn current(&mut self) -> Applied {
        match self.held.as_ref() {
            None => self.reject(&Rejected::NothingArriving),
            Some(held) => {
                let ack = self.ack(
                    "written",
                    Some(held.version()),
                    None,
                    Some(held.provenance()),
                );
                self.stand(Standing::Written);
                Applied::Written(ack)
            }
        }
    }

    /// Access was taken back.
    pub fn revoked(&mut self, reason: &str) {
        self.stand(Standing::Revoked(reason.to_owned()));
    }

    /// Notes how the vault stands, for the probes. A vault that was never written stays waiting.
    pub fn stand(&mut self, standing: Standing) {
        if standing != Standing::Written && !self.dir.has_version() {
            return;
        }
        if let Err(e) = self.board.set(&self.name, standing) {
            warn!(vault = self.name, error = %e, "cannot say how this vault stands");
        }
    }

    fn arrived(&mut self) -> Applied {
        let Some(arriving) = self.arriving.take_if(|a| a.complete()) else {
            return Applied::More;
        };
        match verify::verify(self.held.as_ref(), &self.anchor, arriving, now_ms()) {
            Ok((held, entries)) => self.write(held, entries),
            Err(e) => self.reject(&e),
        }
    }

    fn write(&mut self, held: Held, mut entries: BTreeMap<String, Entry>) -> Applied {
        let version = held.version();
        let name = &version.to_string()[..12];
        let written = match self.dir.write(name, &entries) {
            Ok(()) => self.keep(&held),
            Err(e) => Err(e),
        };
        if let Err(e) = written {
            let reason = if matches!(e, WriteError::Path(_)) {
                "PathUnusable"
            } else {
                "WriteFailed"
            };
            warn!(vault = self.name, error = %e, "cannot write this version");
            return Applied::Unusable(self.ack("failed", Some(version), Some(reason), None));
        }
        self.write_environment(&mut entries);
        info!(
            vault = self.name,
            version = name,
            files = entries.len(),
            provenance = held.provenance(),
            "written"
        );
        let ack = self.ack("written", Some(version), None, Some(held.provenance()));
        self.held = Some(held);
        self.stand(Standing::Written);
        Applied::Written(ack)
    }

    /// Raises the floor. Not before the files are in place: a floor above the files would refuse the version that a restart needs.
    fn keep(&mut self, held: &Held) -> Result<(), WriteError> {
        let floor = held.floor();
        let vault = floor.vault;
        let known = self.anchor.floor.as_ref();
        // Not older, as verified, and not pinned back.
        if known.is_none_or(|f| f.time_ms <= floor.time_ms && *f != floor) {
            self.state
                .set_floor(&self.name, &floor)
                .map_err(|source| WriteError::Io {
                    dir: PathBuf::from(&self.name),
                    source,
                })?;
            self.anchor.floor = Some(floor);
        }
        self.anchor.pin = Some(vault);
        Ok(())
    }

    /// Writes the values that containers asked for as environment variables, each read back from the version in place when it did not change.
    fn write_environment(&self, entries: &mut BTreeMap<String, Entry>) {
        let Some((dir, keys)) = &self.environment else {
            return;
        };
        let mut values = BTreeMap::new();
        for key in keys {
            let value = match entries.remove(key).map(|e| e.source) {
                Some(Source::Bytes(bytes)) => Some(bytes),
                Some(Source::Unchanged) => self.dir.read(key).ok(),
                Some(Source::Directory) | None => None,
            };
            match value {
                Some(value) => drop(values.insert(key.as_str(), value)),
                None => {
                    warn!(vault = self.name, %key, "polykey.io/env names a secret that this vault does not have");
                }
            }
        }
        let (text, unusable) =
            layout::environment(&values.iter().map(|(k, v)| (*k, v.as_slice())).collect());
        for key in unusable {
            warn!(vault = self.name, %key, "cannot be an environment variable: it must be text, not empty, without a single quote; mount the file instead");
        }
        let written = std::fs::create_dir_all(dir)
            .and_then(|()| replace_file(&dir.join(&self.name), 0o400, &text));
        if let Err(e) = written {
            warn!(vault = self.name, error = %e, "cannot write the environment file");
        }
    }

    fn reject(&mut self, why: &Rejected) -> Applied {
        self.arriving = None;
        Applied::Untrusted(
            self.ack("failed", self.held_version(), Some(why.reason()), None),
            why.to_string(),
        )
    }

    fn ack(
        &self,
        state: &str,
        version: Option<CommitId>,
        reason: Option<&str>,
        provenance: Option<&str>,
    ) -> Ack {
        Ack {
            name: self.name.clone(),
            version,
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            provenance: provenance.map(str::to_owned),
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
