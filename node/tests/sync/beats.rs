//! Beats over real QUIC: a reader knows how old an owner's last word is, through a mirror too, and nobody can make it younger.

use crate::node::{Node, eventually};
use crate::vault_on;
use polykey_core::control::Role;

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_s_beat_reaches_a_reader_through_a_mirror_and_stops_when_the_owner_does() {
    let (owner, mirror, reader) = (
        Node::start(1).await,
        Node::start(2).await,
        Node::start(3).await,
    );
    mirror.knows(&owner).await;
    mirror.knows(&reader).await;
    owner.dials(&mirror).await;
    reader.dials(&mirror).await;
    let vault = vault_on(&owner).await;
    owner.share(&vault, &mirror, Role::Mirror).await;
    owner.share(&vault, &reader, Role::Reader).await;
    reader.has(&vault, "db/password", b"first").await;
    let fresh = |node: &Node| node.vaults.summary_of(&vault).unwrap().fresh_ms;
    let committed = reader.vaults.summary_of(&vault).unwrap().committed_ms;
    eventually("a beat after the commit", || fresh(&reader) > committed).await;
    eventually("the mirror has it too", || fresh(&mirror) == fresh(&reader)).await;
    assert_eq!(fresh(&owner), None, "it is an owner itself");

    let stopped = owner.stop().await;
    let last = fresh(&reader);
    // What the mirror has of it is told again after a restart of the reader, and is no younger.
    let reader = reader.stop().await.start().await;
    eventually("heard again", || fresh(&reader) == last).await;
    let owner = stopped.start().await;
    owner.set(&vault, "db/password", b"second").await;
    reader.has(&vault, "db/password", b"second").await;
    assert!(fresh(&reader) > last);
}
