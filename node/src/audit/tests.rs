use super::*;
use crate::store::testing::{scratch_key, scratch_store};
use tempfile::TempDir;

fn key() -> RootKey {
    RootKey::from_seed(&[3; 32])
}

fn happened(detail: &str) -> Happened {
    let subject = Subject {
        vault: None,
        path: None,
        detail: detail.into(),
    };
    Happened {
        kind: Kind::Grant,
        actor: "local".into(),
        subject,
        outcome: Outcome::Done,
    }
}

struct Scratch {
    dir: TempDir,
    _store_dir: TempDir,
    store: Arc<Store>,
}

impl Scratch {
    fn new() -> Scratch {
        let (store_dir, store) = scratch_store();
        Scratch {
            dir: tempfile::tempdir().unwrap(),
            _store_dir: store_dir,
            store,
        }
    }

    fn open(&self) -> Audit {
        Audit::open(self.dir.path(), self.store.clone(), key()).unwrap()
    }

    fn details(&self) -> Result<Vec<String>, AuditError> {
        let mut details = Vec::new();
        verify(self.dir.path(), &scratch_key(), &key().node_id(), |e| {
            details.push(e.subject.detail.clone());
        })?;
        Ok(details)
    }

    async fn filled(entries: &[&str]) -> Scratch {
        let scratch = Scratch::new();
        let audit = scratch.open();
        for entry in entries {
            audit.write(happened(entry)).await.unwrap();
        }
        drop(audit);
        scratch
    }

    fn log(&self) -> PathBuf {
        segment_path(self.dir.path(), 0)
    }
}

#[tokio::test]
async fn entries_are_chained_across_restarts_and_the_head_is_signed() {
    let scratch = Scratch::filled(&["one", "two"]).await;
    let audit = scratch.open();
    audit.write(happened("three")).await.unwrap();
    let head = audit.head();
    drop(audit);
    assert_eq!(scratch.details().unwrap(), ["one", "two", "three"]);
    assert_eq!(read_head(scratch.dir.path()).unwrap().unwrap(), head);
    assert_eq!(head.entries, 3);
    let stranger = verify(
        scratch.dir.path(),
        &scratch_key(),
        &NodeId::from([9; 32]),
        |_| {},
    );
    assert!(matches!(stranger, Err(AuditError::Head)));
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_found() {
    let scratch = Scratch::filled(&["one", "two", "three"]).await;
    for file in [scratch.log(), scratch.dir.path().join("head")] {
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, bad).unwrap();
            assert!(
                scratch.details().is_err(),
                "byte {at} of {}",
                file.display()
            );
        }
        fs::write(&file, good).unwrap();
    }
    assert_eq!(scratch.details().unwrap().len(), 3);
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found_by_the_signed_head() {
    let scratch = Scratch::filled(&["one", "two", "three"]).await;
    let good = fs::read(scratch.log()).unwrap();
    let (_, rest) = split_frame(&good).unwrap().unwrap();
    let (_, last) = split_frame(rest).unwrap().unwrap();
    fs::write(scratch.log(), &good[..good.len() - last.len()]).unwrap();
    assert!(matches!(
        scratch.details(),
        Err(AuditError::Short {
            found: 2,
            signed: 3
        })
    ));
    fs::remove_file(scratch.log()).unwrap();
    assert!(matches!(
        scratch.details(),
        Err(AuditError::Short {
            found: 0,
            signed: 3
        })
    ));
}

#[tokio::test]
async fn a_write_that_a_crash_cut_off_is_taken_away_and_nothing_else_is() {
    let scratch = Scratch::filled(&["one", "two"]).await;
    let good = fs::read(scratch.log()).unwrap();
    for torn in [1, 3, 5, 60] {
        fs::write(scratch.log(), [&good[..], &good[..torn]].concat()).unwrap();
        drop(scratch.open());
        assert_eq!(
            fs::read(scratch.log()).unwrap(),
            good,
            "{torn} bytes of a frame"
        );
    }
    assert_eq!(
        fs::read_dir(scratch.dir.path()).unwrap().count(),
        2,
        "nothing was put aside"
    );
}

#[tokio::test]
async fn damage_is_put_aside_said_in_an_entry_and_stops_nothing() {
    let scratch = Scratch::filled(&["one", "two", "three"]).await;
    let mut bytes = fs::read(scratch.log()).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(scratch.log(), &bytes).unwrap();
    let audit = scratch.open();
    audit.write(happened("four")).await.unwrap();
    drop(audit);
    assert_eq!(
        scratch.details().unwrap(),
        ["one", "two", "audit: a frame does not open", "four"]
    );
    assert_eq!(
        fs::read(scratch.log().with_extension("log.damaged")).unwrap(),
        bytes
    );
}

#[tokio::test]
async fn a_new_file_begins_when_one_is_full_and_the_chain_goes_on() {
    let scratch = Scratch::new();
    let (mut log, _) =
        Log::open(scratch.dir.path(), scratch.store.clone(), Arc::new(key())).unwrap();
    log.append([happened("one"), happened("two")]).unwrap();
    log.length = FULL;
    log.append([happened("three")]).unwrap();
    log.sign().unwrap();
    drop(log);
    assert_eq!(segments(scratch.dir.path()).unwrap(), [0, 2]);
    let audit = scratch.open();
    audit.write(happened("four")).await.unwrap();
    drop(audit);
    assert_eq!(scratch.details().unwrap(), ["one", "two", "three", "four"]);
    fs::remove_file(scratch.log()).unwrap();
    assert!(scratch.details().is_err(), "a whole file is missing");
}

#[tokio::test]
async fn refusals_that_repeat_are_counted_and_none_is_lost() {
    let scratch = Scratch::new();
    let audit = scratch.open();
    let refusal = || Happened {
        kind: Kind::Read,
        outcome: Outcome::Refused {
            reason: "Denied".into(),
            count: 1,
        },
        ..happened("pod")
    };
    for _ in 0..100 {
        audit.write(refusal()).await.unwrap();
    }
    drop(audit);
    let mut counts = Vec::new();
    verify(scratch.dir.path(), &scratch_key(), &key().node_id(), |e| {
        if let Outcome::Refused { count, .. } = e.outcome {
            counts.push(count);
        }
    })
    .unwrap();
    assert_eq!(counts, [1, 99]);
}

#[tokio::test]
async fn no_text_of_an_entry_is_readable_in_the_files() {
    let scratch = Scratch::filled(&["planted-detail"]).await;
    let bytes = fs::read(scratch.log()).unwrap();
    assert!(!bytes.windows(14).any(|w| w == b"planted-detail"));
}
