//! Memory under malformed frames, in a process of its own so that nothing else counts.

#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "sync/node.rs"]
mod node;

#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "sync/mutate.rs"]
mod mutate;

use node::{Node, seed};
use polykey::net::{Connection, Net};
use polykey_core::keys::RootKey;
use polykey_core::wire::{self, Call};
use std::net::Ipv4Addr;

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

async fn connect(net: &(u8, Net), node: &Node) -> Connection {
    let connection = net.1.dial(node.socket()).await.unwrap();
    let start = wire::SignedStart::of(&RootKey::from_seed(&seed(net.0)), [7; 16], 1);
    let hello = wire::Hello::new(&start, None);
    let frame = wire::frame(&hello).unwrap();
    // One that is not known is closed instead of answered.
    if let Ok(mut stream) = connection.call(Call::Hello as u8, &frame).await {
        let _ = stream.rx.frame(1_000).await;
    }
    connection
}

/// Messages that are nearly right, with their length before them.
fn malformed() -> Vec<Vec<u8>> {
    let sync = wire::SyncFrame::Sync(wire::Sync {
        vault: [3; 32].into(),
        control_heads: vec![[1; 32].into(), [2; 32].into()],
        heads: vec![[4; 32].into()],
    });
    let whole = wire::frame(&sync).unwrap()[4..].to_vec();
    let changed = mutate::by_field(&whole);
    let all = changed.into_iter().chain(mutate::by_byte(&whole));
    all.filter(|body| wire::read::<wire::SyncFrame>(body).is_err())
        .map(|body| {
            let length = u32::try_from(body.len()).unwrap();
            [&length.to_be_bytes()[..], &body].concat()
        })
        .collect()
}

/// Opens streams that claim the largest frames and send a little, then one with a message that ends the connection.
async fn attack(net: &(u8, Net), node: &Node, malformed: &[u8]) {
    let connection = connect(net, node).await;
    let mut open = Vec::new();
    for call in [Call::Sync, Call::Pull, Call::Get, Call::Need].repeat(25) {
        let mut bytes = vec![0, 0, 0xff, 0xff];
        bytes.extend([0x84; 900]);
        let Ok(stream) = connection.call(call as u8, &bytes).await else {
            return;
        };
        open.push(stream);
    }
    // The calls above are all that are answered at a time; a subscription is heard beside them.
    let _ = connection.call(Call::Sync as u8, malformed).await;
    connection.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_with_malformed_frames_cost_no_memory() {
    let node = Node::start(1).await;
    let nets = [40, 41].map(|n| {
        let net = Net::bind(&seed(n), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        (n, net)
    });
    let known = RootKey::from_seed(&seed(40)).node_id();
    node.peers.add(known, None).await.unwrap();
    let malformed = malformed();
    let round = async |connections: usize| {
        for turn in 0..connections {
            let net = &nets[turn % nets.len()];
            attack(net, &node, &malformed[turn * 7 % malformed.len()]).await;
        }
    };
    round(400).await;
    let before = resident();
    round(1_000).await;
    // QUIC remembers a closed connection for some seconds (RFC 9000, section 10.2), so there is a level that it comes back to.
    let patience = std::time::Duration::from_secs(20);
    node::within(patience, "memory as before", || {
        resident() < before + (4 << 20)
    })
    .await;
}
