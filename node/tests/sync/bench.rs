//! Figures, not verdicts: `cargo test --release --test sync figures -- --ignored --nocapture`.

use crate::node::{Node, eventually};
use polykey_core::control::Role;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn figures_of_an_edit_and_of_a_clone() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    let vault = laptop.vaults.create("app").await.unwrap();
    laptop.set(&vault, "a", b"0").await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    cluster.has(&vault, "a", b"0").await;

    let mut changed = cluster.vaults.subscribe();
    let (mut own, mut both) = (Vec::new(), Vec::new());
    for turn in 0..500_u32 {
        let started = Instant::now();
        laptop.set(&vault, "a", &turn.to_be_bytes()).await;
        own.push(started.elapsed());
        while laptop.vaults.summary(&vault) != cluster.vaults.summary(&vault) {
            let _ = changed.recv().await;
        }
        both.push(started.elapsed());
    }
    println!("commit durable here   {}", spread(&mut own));
    println!("commit durable there  {}", spread(&mut both));

    let large = laptop.vaults.create("large").await.unwrap();
    let megabytes = 64;
    for part in 0..megabytes {
        let paths: Vec<String> = (0..16).map(|n| format!("{part}/{n}")).collect();
        let value = |n: usize| vec![u8::try_from(part ^ n).unwrap(); 65_000];
        let values = paths.iter().enumerate();
        laptop
            .set_all(&large, values.map(|(n, p)| (p.as_str(), value(n))))
            .await;
    }
    let started = Instant::now();
    laptop.share(&large, &cluster, Role::Reader).await;
    eventually("cloned", || {
        laptop.vaults.summary(&large) == cluster.vaults.summary(&large)
    })
    .await;
    let rate = f64::from(u32::try_from(megabytes).unwrap()) / started.elapsed().as_secs_f64();
    println!("clone of {megabytes} MiB, durable {rate:.0} MiB/s");
}

fn spread(samples: &mut [Duration]) -> String {
    samples.sort();
    let at = |percent: usize| samples[samples.len() * percent / 100];
    format!("p50 {:?}  p99 {:?}", at(50), at(99))
}
