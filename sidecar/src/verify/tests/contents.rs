//! What a version holds: every byte of it up to the signed root, in however many parts and pieces it comes.

use super::*;
use polykey_client::api::Secret;

#[test]
fn a_whole_version_verifies_up_to_its_root_and_a_change_writes_only_what_differs() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    owner.set("big", &[7; 3_000]);
    let anchor = Anchor {
        pin: Some(owner.control.vault()),
        floor: None,
    };
    let (held, entries) = check(&anchor, owner.content(1)).unwrap();
    assert_eq!(held.provenance(), "content");
    let bytes = |e: &Entry| {
        if let Source::Bytes(b) = &e.source {
            b.to_vec()
        } else {
            vec![]
        }
    };
    assert_eq!(
        (bytes(&entries["a"]), bytes(&entries["big"])),
        (b"one".to_vec(), vec![7; 3_000])
    );
    owner.set("a", b"two");
    let mut change = owner.content(2);
    change.control.clear();
    let (_, entries) = verify(
        Some(&held),
        &anchor,
        Arriving::new(change, false).unwrap(),
        NOW,
    )
    .unwrap();
    assert_eq!(bytes(&entries["a"]), b"two");
    assert!(matches!(entries["big"].source, Source::Unchanged));
}

#[test]
fn every_missing_or_changed_object_or_signed_byte_is_a_refusal() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    owner.set("big", &[7; 3_000]);
    let needed = tree::difference(&Both(&owner.objects, None), &[], &owner.root).unwrap();
    for address in needed {
        let mut lacking = owner.content(1);
        let Body::Sealed(sealed) = &mut lacking.body else {
            unreachable!()
        };
        let at = sealed
            .objects
            .iter()
            .position(|o| seal::address(o) == address)
            .unwrap();
        let mut changed = sealed.objects.remove(at);
        assert!(
            matches!(
                error(check(&fresh(), copy(&lacking))),
                Rejected::Contents(_)
            ),
            "{address} is missing"
        );
        changed[60] ^= 1;
        let Body::Sealed(sealed) = &mut lacking.body else {
            unreachable!()
        };
        sealed.objects.push(changed);
        assert!(
            matches!(error(check(&fresh(), lacking)), Rejected::Contents(_)),
            "{address} is changed"
        );
    }
    let whole = owner.content(1);
    for at in 0..whole.commits[0].len() {
        let mut bad = copy(&whole);
        bad.commits[0][at] ^= 1;
        assert!(check(&fresh(), bad).is_err(), "byte {at} of the commit");
    }
    for at in (0..whole.control[0].len()).step_by(7) {
        let mut bad = copy(&whole);
        bad.control[0][at] ^= 1;
        assert!(check(&fresh(), bad).is_err(), "byte {at} of the log");
    }
}

#[test]
fn parts_make_the_version_whole_and_strange_parts_are_refused() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    let mut first = owner.content(0);
    let Body::Sealed(sealed) = &mut first.body else {
        unreachable!()
    };
    let objects = std::mem::take(&mut sealed.objects);
    first.more = true;
    let part = |more| Part {
        name: "app".into(),
        body: Body::Sealed(Sealed {
            objects: objects.clone(),
            keys: vec![],
        }),
        more,
    };
    let mut arriving = Arriving::new(first, true).unwrap();
    assert!(!arriving.complete());
    let files = Part {
        name: "app".into(),
        body: Body::Files(Files {
            put: vec![],
            removed: vec![],
        }),
        more: false,
    };
    assert!(matches!(arriving.push(files), Err(Rejected::Mixed)));
    arriving.push(part(false)).unwrap();
    assert!(arriving.complete());
    assert!(matches!(
        arriving.push(part(false)),
        Err(Rejected::NothingArriving)
    ));
    assert!(verify(None, &fresh(), arriving, NOW).is_ok());
    let change = owner.content(0);
    assert!(matches!(
        error(verify(
            None,
            &fresh(),
            Arriving::new(change, false).unwrap(),
            NOW
        )),
        Rejected::Incomplete
    ));
}

#[test]
fn a_large_file_is_checked_chunk_by_chunk_up_to_the_signed_root() {
    let large: Vec<u8> = (0u64..).flat_map(u64::to_le_bytes).take(300_000).collect();
    let mut owner = Owner::new(1);
    owner.set("large", &large);
    let (_, entries) = check(&fresh(), owner.content(0)).unwrap();
    let Source::Bytes(bytes) = &entries["large"].source else {
        panic!("bytes")
    };
    assert!(**bytes == large);
    // Each object that is left out, or changed, is missed.
    let n = owner.objects.len();
    for at in 0..n {
        let mut content = owner.content(0);
        let Body::Sealed(sealed) = &mut content.body else {
            unreachable!()
        };
        let header = seal::header(&sealed.objects[at]).unwrap();
        let unused = header.kind == seal::Kind::Page && header.refs.is_empty();
        sealed.objects.swap_remove(at);
        assert_eq!(check(&fresh(), content).is_ok(), unused);
    }
}

#[test]
fn pieces_of_a_file_are_joined_and_those_that_do_not_fit_are_refused() {
    let mut owner = Owner::new(1);
    owner.set("a", b"one");
    let piece = |path: &str, value: &[u8], rest: Option<u64>| File {
        path: path.into(),
        mode: 0o444,
        value: Secret(Zeroizing::new(value.to_vec())),
        rest,
    };
    let sent = |parts: Vec<Vec<File>>| {
        let last = parts.len() - 1;
        let mut arriving: Option<Arriving> = None;
        for (at, put) in parts.into_iter().enumerate() {
            let removed = vec![];
            let body = Body::Files(Files { put, removed });
            let more = at < last;
            match &mut arriving {
                None => {
                    let content = Content {
                        body,
                        more,
                        ..owner.content(0)
                    };
                    arriving = Some(Arriving::new(content, true)?);
                }
                Some(arriving) => arriving.push(Part {
                    name: "app".into(),
                    body,
                    more,
                })?,
            }
        }
        verify(None, &fresh(), arriving.unwrap(), NOW).map(|(_, entries)| {
            let text = |e: &Entry| match &e.source {
                Source::Bytes(b) => String::from_utf8(b.to_vec()).unwrap(),
                _ => panic!("bytes"),
            };
            let files = entries.iter().map(|(p, e)| format!("{p}={}", text(e)));
            files.collect::<Vec<_>>().join(" ")
        })
    };
    let fits = vec![
        vec![piece("a", b"1", None), piece("b", b"12", Some(5))],
        vec![piece("b", b"345", Some(2))],
        vec![piece("b", b"67", None), piece("c", b"", None)],
    ];
    assert_eq!(sent(fits).unwrap(), "a=1 b=1234567 c=");
    for (what, parts) in [
        ("nothing follows", vec![vec![piece("b", b"12", Some(5))]]),
        (
            "another file follows",
            vec![vec![piece("b", b"1", Some(1)), piece("c", b"2", None)]],
        ),
        (
            "more follows than was said",
            vec![vec![piece("b", b"1", Some(1)), piece("b", b"23", None)]],
        ),
        (
            "less follows than was said",
            vec![vec![piece("b", b"1", Some(2)), piece("b", b"2", None)]],
        ),
        (
            "the rest grows",
            vec![vec![piece("b", b"1", Some(1)), piece("b", b"2", Some(9))]],
        ),
        (
            "an empty piece",
            vec![vec![piece("b", b"1", Some(0)), piece("b", b"", Some(0))]],
        ),
        (
            "a sum past every number",
            vec![vec![
                piece("b", b"1", Some(1)),
                piece("b", b"2", Some(u64::MAX)),
            ]],
        ),
    ] {
        assert!(matches!(sent(parts), Err(Rejected::Pieces)), "{what}");
    }
    let huge = vec![vec![piece("b", b"1", Some(1 << 40))]];
    assert!(matches!(sent(huge), Err(Rejected::TooLarge)));
}
