//! What a Kubernetes Service does to UDP: each new source address and port is bound to one of the backends, and stays with it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;

/// Starts one in front of `backends`; gives its address. Three of four new ports go to the first backend.
pub async fn start(backends: Vec<SocketAddr>) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let at = front.local_addr().unwrap();
    tokio::spawn(async move {
        let mut flows = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
        let mut packet = vec![0; 65_536];
        loop {
            let Ok((length, from)) = front.recv_from(&mut packet).await else {
                continue;
            };
            if !flows.contains_key(&from) {
                let chosen = backends[usize::from(flows.len() % 4 == 3) % backends.len()];
                let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
                back.connect(chosen).await.unwrap();
                flows.insert(from, back.clone());
                tokio::spawn(answers(back, front.clone(), from));
            }
            // A packet that is lost is sent again.
            let _ = flows[&from].send(&packet[..length]).await;
        }
    });
    at
}

async fn answers(back: Arc<UdpSocket>, front: Arc<UdpSocket>, to: SocketAddr) {
    let mut packet = vec![0; 65_536];
    while let Ok(length) = back.recv(&mut packet).await {
        let _ = front.send_to(&packet[..length], to).await;
    }
}
