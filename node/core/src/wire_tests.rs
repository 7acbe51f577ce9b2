use super::*;
use crate::keys::RootKey;
use proptest::prelude::*;

fn ids<T: From<[u8; 32]> + Ord + std::fmt::Debug>(n: usize) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::btree_set(any::<[u8; 32]>(), 0..n)
        .prop_map(|set| set.into_iter().map(T::from).collect())
}

fn blobs() -> impl Strategy<Value = Vec<ByteVec>> {
    proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(ByteVec::from),
        0..5,
    )
}

fn announce() -> impl Strategy<Value = Announce> {
    (blobs(), blobs(), blobs(), blobs()).prop_map(|(ops, wraps, commits, objects)| Announce {
        ops,
        wraps,
        commits,
        objects,
    })
}

fn refused() -> impl Strategy<Value = Refused> {
    proptest::sample::select(&Refused::ALL[..])
}

fn sync_frame() -> impl Strategy<Value = SyncFrame> {
    prop_oneof![
        (any::<[u8; 32]>(), ids(4), ids(4)).prop_map(|(v, control_heads, heads)| SyncFrame::Sync(
            Sync {
                vault: v.into(),
                control_heads,
                heads
            }
        )),
        announce().prop_map(SyncFrame::Announce),
        refused().prop_map(SyncFrame::Refused),
        blobs().prop_map(SyncFrame::Beats),
    ]
}

fn comes_back<M: Message + PartialEq + std::fmt::Debug>(message: &M) -> Result<(), TestCaseError> {
    let bytes = frame(message).unwrap();
    prop_assert_eq!(
        body_length(*bytes.first_chunk().unwrap()).unwrap(),
        bytes.len() - 4
    );
    let body = &bytes[4..];
    prop_assert_eq!(&read::<M>(body).unwrap(), message);
    prop_assert!(read::<M>(&body[..body.len() - 1]).is_err(), "cut off");
    prop_assert!(
        read::<M>(&[body, &[0]].concat()).is_err(),
        "a trailing byte"
    );
    Ok(())
}

proptest! {
    #[test]
    fn every_message_comes_back_from_its_frame(
        instance: [u8; 16], boot: u64, versions in proptest::collection::btree_set(any::<u16>(), 0..16), frame in sync_frame(),
        vault: [u8; 32], have in ids(5), want: [u8; 32], budget: u64, addresses in ids(5), ops in ids(5), commits in ids(5), objects in blobs(), records in (blobs(), blobs()), code in refused(),
    ) {
        let start = SignedStart::of(&RootKey::from_seed(&[1; 32]), instance, boot);
        let seen = (boot % 2 == 0).then(|| Seen { instance: instance.into(), boot });
        comes_back(&Hello { versions: versions.into_iter().collect(), ..Hello::new(&start, seen) })?;
        comes_back(&Cloned { start: start.bytes().to_vec().into(), older: boot % 3 == 0 })?;
        comes_back(&frame)?;
        comes_back(&Pull { vault: vault.into(), have, want: want.into(), budget })?;
        comes_back(&Get { vault: vault.into(), addresses })?;
        comes_back(&Need { vault: vault.into(), ops, commits })?;
        for frame in [ObjectsFrame::Objects(objects), ObjectsFrame::End, ObjectsFrame::Refused(code)] {
            comes_back(&frame)?;
        }
        for frame in [RecordsFrame::Records { ops: records.0, commits: records.1 }, RecordsFrame::End, RecordsFrame::Refused(code)] {
            comes_back(&frame)?;
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<(usize, u8)>(), frame in sync_frame()) {
        let mut near = super::frame(&frame).unwrap();
        let at = 4 + flip.0 % (near.len() - 4);
        near[at] ^= flip.1;
        for bytes in [&bytes[..], &near[4..]] {
            let _ = read::<Hello>(bytes);
            let _ = read::<Cloned>(bytes);
            let _ = read::<Pull>(bytes);
            let _ = read::<Get>(bytes);
            let _ = read::<Need>(bytes);
            let _ = read::<ObjectsFrame>(bytes);
            let _ = read::<RecordsFrame>(bytes);
            if let Ok(read) = read::<SyncFrame>(bytes) {
                prop_assert_eq!(&super::frame(&read).unwrap()[4..], bytes, "one message, one encoding");
            }
        }
    }
}

#[test]
fn a_frame_over_the_bound_is_refused_before_it_is_read() {
    assert_eq!(body_length([0, 0x10, 0, 0]).unwrap(), MAX_FRAME);
    assert!(matches!(
        body_length([0, 0x10, 0, 1]),
        Err(WireError::TooLong(_))
    ));
    assert!(matches!(body_length([0xff; 4]), Err(WireError::TooLong(_))));
    assert!(matches!(
        read::<Get>(&vec![0; MAX_FRAME + 1]),
        Err(WireError::TooLong(_))
    ));
    let objects: Vec<ByteVec> = vec![vec![0; seal::MAX_OBJECT].into(); 9];
    assert!(matches!(
        frame(&ObjectsFrame::Objects(objects)),
        Err(WireError::TooLong(_))
    ));
}

#[test]
fn a_list_over_its_bound_is_refused_by_its_length_alone() {
    let too_many = Get {
        vault: [0; 32].into(),
        addresses: vec![[0; 32].into(); MAX_ADDRESSES + 1],
    };
    assert!(read::<Get>(&frame(&too_many).unwrap()[4..]).is_err());
    // Objects: an array that says 2^32 - 1 items, and nothing behind.
    assert!(read::<ObjectsFrame>(&[0x82, 0x00, 0x9a, 0xff, 0xff, 0xff, 0xff]).is_err());
    let too_long = ObjectsFrame::Objects(vec![vec![0; seal::MAX_OBJECT + 1].into()]);
    assert!(read::<ObjectsFrame>(&frame(&too_long).unwrap()[4..]).is_err());
}

#[test]
fn ids_out_of_order_or_twice_are_refused() {
    for heads in [[[2; 32], [1; 32]], [[1; 32], [1; 32]]] {
        let pull = Pull {
            vault: [0; 32].into(),
            have: heads.map(Into::into).to_vec(),
            want: [3; 32].into(),
            budget: 0,
        };
        assert!(matches!(
            read::<Pull>(&frame(&pull).unwrap()[4..]),
            Err(WireError::Order("Pull"))
        ));
    }
}

#[test]
fn encodings_are_those_of_the_formats_reference() {
    let hello = Hello {
        start: vec![9; 126].into(),
        versions: vec![1],
        seen: Some(Seen {
            instance: [7; 16].into(),
            boot: 3,
        }),
    };
    let expected = [
        &[0x83, 0x58, 126][..],
        &[9; 126],
        &[0x81, 0x01, 0x82, 0x50],
        &[7; 16],
        &[0x03],
    ]
    .concat();
    assert_eq!(frame(&hello).unwrap()[4..], expected);
    let unseen = Hello {
        seen: None,
        ..hello
    };
    assert_eq!(frame(&unseen).unwrap().last(), Some(&0xf6));
    let cloned = Cloned {
        start: vec![9; 2].into(),
        older: true,
    };
    assert_eq!(frame(&cloned).unwrap()[4..], [0x82, 0x42, 0x09, 0x09, 0xf5]);
    assert_eq!(
        frame(&SyncFrame::Refused(Refused::NotFound)).unwrap(),
        [0, 0, 0, 3, 0x82, 0x02, 0x00]
    );
    assert_eq!(frame(&ObjectsFrame::End).unwrap(), [0, 0, 0, 2, 0x81, 0x01]);
    assert_eq!(Call::from_byte(4), Some(Call::Need));
    assert_eq!(Call::from_byte(5), Some(Call::Cloned));
    assert_eq!(Call::from_byte(6), None);
}
