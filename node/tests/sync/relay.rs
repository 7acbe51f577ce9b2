//! A bad line: datagrams between a node that dials and one that listens are lost, doubled, delayed past each other, or all of them cut off.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The longest datagram.
const DATAGRAM: usize = 65_536;
/// The longest delay of a datagram that is held back: a few round trips on loopback, so that others pass it.
const LATE: Duration = Duration::from_millis(15);

/// What becomes of a thousand datagrams.
#[derive(Clone, Copy)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
}

/// A line that runs as long as this lives.
pub struct Line {
    pub at: SocketAddr,
    cut: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

struct Sky {
    weather: Weather,
    dice: AtomicU64,
    cut: Arc<AtomicBool>,
}

impl Sky {
    /// A number below a thousand, each as likely (splitmix64, so that a seed gives one sequence).
    fn roll(&self) -> u64 {
        let mut z = self
            .dice
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 1_000
    }

    async fn carry(self: &Arc<Self>, socket: &Arc<UdpSocket>, datagram: &[u8], to: SocketAddr) {
        if self.cut.load(Ordering::Relaxed) || self.roll() < self.weather.lost {
            return;
        }
        if self.roll() < self.weather.late {
            let (socket, datagram) = (socket.clone(), datagram.to_vec());
            let late = LATE.mul_f64(f64::from(u16::try_from(self.roll()).unwrap_or(0)) / 1_000.0);
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                let _ = socket.send_to(&datagram, to).await;
            });
            return;
        }
        let _ = socket.send_to(datagram, to).await;
        if self.roll() < self.weather.doubled {
            let _ = socket.send_to(datagram, to).await;
        }
    }
}

impl Line {
    /// A line to `target`.
    pub async fn to(target: SocketAddr, weather: Weather, seed: u64) -> Line {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let at = front.local_addr().unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let sky = Arc::new(Sky {
            weather,
            dice: AtomicU64::new(seed),
            cut: cut.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(front, target, sky));
        Line {
            at,
            cut,
            _tasks: tasks,
        }
    }

    /// Nothing passes any more, or again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

/// Each dialler gets a socket of its own towards the target.
async fn forward(front: Arc<UdpSocket>, target: SocketAddr, sky: Arc<Sky>) {
    let mut behind: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut back = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let Ok((length, from)) = front.recv_from(&mut datagram).await else {
            continue;
        };
        let socket = if let Some(socket) = behind.get(&from) {
            socket.clone()
        } else {
            let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
            behind.insert(from, socket.clone());
            back.spawn(answer(socket.clone(), front.clone(), from, sky.clone()));
            socket
        };
        sky.carry(&socket, &datagram[..length], target).await;
    }
}

async fn answer(from: Arc<UdpSocket>, front: Arc<UdpSocket>, to: SocketAddr, sky: Arc<Sky>) {
    let mut datagram = vec![0; DATAGRAM];
    loop {
        if let Ok((length, _)) = from.recv_from(&mut datagram).await {
            sky.carry(&front, &datagram[..length], to).await;
        }
    }
}
