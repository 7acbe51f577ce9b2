//! Memory under malformed frames, in a process of its own so that nothing else counts.

#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "sync/node.rs"]
mod node;

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

/// Opens streams that claim the largest frames and send a little, then one that ends the connection.
async fn attack(net: &(u8, Net), node: &Node) {
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
    let _ = connection.call(0xee, b"no call").await;
    connection.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_cost_no_memory() {
    let node = Node::start(1).await;
    let nets = [40, 41].map(|n| {
        let net = Net::bind(&seed(n), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        (n, net)
    });
    let known = RootKey::from_seed(&seed(40)).node_id();
    node.peers.add(known, None).await.unwrap();
    let round = async || {
        for _ in 0..200 {
            attack(&nets[0], &node).await;
            attack(&nets[1], &node).await;
        }
    };
    round().await;
    let before = resident();
    round().await;
    round().await;
    // QUIC remembers a closed connection for some seconds (RFC 9000, section 10.2), so there is a level that it comes back to.
    let patience = std::time::Duration::from_secs(20);
    node::within(patience, "memory as before", || {
        resident() < before + (4 << 20)
    })
    .await;
}
