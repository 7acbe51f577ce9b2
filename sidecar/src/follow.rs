//! The supervisor: which node to watch next. One watch carries all vaults of the pod; a vault that this node does not have gets a watch of its own, which looks for
//! one that does. A lost watch is reopened elsewhere, with growing pauses once every node has failed.

use crate::board::{Board, Standing};
use crate::config::Config;
use crate::floor::State;
use crate::session::{self, End};
use crate::vault::Vault;
use backon::BackoffBuilder;
use polykey_client::error::{ApiError, Code};
use polykey_client::tls::{self, Pins};
use polykey_client::watch::NodeAddress;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// The first pause after every node has failed.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause: a rotation must not wait long after an outage.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What all watches of the pod share.
pub struct Shared {
    /// TLS with the pins and this sidecar's own key.
    pub tls: Arc<rustls::ClientConfig>,
    /// The projected token.
    pub token_file: PathBuf,
    /// What the probes read.
    pub board: Arc<Board>,
    /// What survives a restart.
    pub state: State,
    pins: Arc<Pins>,
    endpoint: String,
    replicas: Mutex<Vec<String>>,
}

impl Shared {
    /// Sets up trust: the pins of the annotations, or the nodes that the cluster named last, when the container was restarted.
    pub fn new(config: &Config, board: Arc<Board>, state: State) -> anyhow::Result<Shared> {
        let known = state.nodes()?;
        let pins = match &known {
            Some(nodes) => Pins::new(nodes.iter().map(|n| n.node)),
            None => Pins::new(config.pins.nodes.iter().copied()),
        };
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
        let tls = tls::client_config(pins.clone(), Some(tls::leaf(&seed)?))?;
        let replicas = Mutex::new(
            known
                .iter()
                .flatten()
                .map(|n| n.address.clone())
                .filter(|a| !a.is_empty())
                .collect(),
        );
        Ok(Shared {
            tls,
            token_file: config.token_file.clone(),
            board,
            state,
            pins,
            endpoint: config.endpoint.clone(),
            replicas,
        })
    }

    /// From now on trust exactly these nodes: the pinned node that sent the list speaks for the cluster.
    pub fn learn_nodes(&self, nodes: Vec<NodeAddress>) {
        if nodes.is_empty() {
            return;
        }
        self.pins.replace(nodes.iter().map(|n| n.node));
        if let Err(e) = self.state.set_nodes(&nodes) {
            warn!(error = %e, "cannot keep the list of nodes");
        }
        *self.replicas.lock().unwrap_or_else(PoisonError::into_inner) = nodes
            .into_iter()
            .map(|n| n.address)
            .filter(|a| !a.is_empty())
            .collect();
    }

    /// Where to try, in order: the Service, which picks a near and ready node, then each replica.
    fn addresses(&self) -> Vec<String> {
        let replicas = self.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.endpoint)
            .chain(replicas.iter())
            .cloned()
            .collect()
    }
}

/// Follows all vaults for ever.
pub async fn follow(shared: Arc<Shared>, vaults: BTreeMap<String, Vault>) {
    let mut watches = JoinSet::new();
    watches.spawn(follow_group(shared.clone(), vaults));
    while let Some(ended) = watches.join_next().await {
        match ended {
            Ok(groups) => {
                for group in groups {
                    watches.spawn(follow_group(shared.clone(), group));
                }
            }
            Err(e) => warn!(error = %e, "a watch ended by a fault of this program"),
        }
    }
}

/// Follows a group of vaults over one watch until it must be split, and gives the parts.
async fn follow_group(
    shared: Arc<Shared>,
    mut vaults: BTreeMap<String, Vault>,
) -> Vec<BTreeMap<String, Vault>> {
    let mut pauses = pauses();
    let mut route = Route::default();
    loop {
        let addresses = shared.addresses();
        let address = route.next(&addresses);
        match session::watch(&shared, &address, route.at_last(&addresses), &mut vaults).await {
            End::Bye => {
                route = Route::default();
                pauses = self::pauses();
            }
            End::Elsewhere(names) if vaults.len() > names.len() => {
                let apart = names
                    .into_iter()
                    .filter_map(|n| vaults.remove_entry(&n))
                    .map(|one| BTreeMap::from([one]))
                    .collect::<Vec<_>>();
                return apart.into_iter().chain([vaults]).collect();
            }
            End::Elsewhere(_) => route.refused(),
            End::Lost(e) => {
                info!(%address, error = %e, "the watch is lost");
                route.lost(&e);
            }
        }
        if route.exhausted(&addresses) {
            if route.strangers_only() {
                for vault in vaults.values_mut() {
                    vault.stand(Standing::PinsStale);
                }
            }
            tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
            route = Route::default();
        }
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

/// One round over the addresses.
#[derive(Default)]
struct Route {
    tried: usize,
    strangers: usize,
}

impl Route {
    fn next(&mut self, addresses: &[String]) -> String {
        addresses[self.tried.min(addresses.len() - 1)].clone()
    }

    fn refused(&mut self) {
        self.tried += 1;
    }

    fn lost(&mut self, why: &ApiError) {
        self.tried += 1;
        if why.code == Code::NotFound {
            self.strangers += 1;
        }
    }

    fn at_last(&self, addresses: &[String]) -> bool {
        self.tried + 1 >= addresses.len()
    }

    fn exhausted(&self, addresses: &[String]) -> bool {
        self.tried >= addresses.len()
    }

    /// Every node that answered in this round was none of the pinned ones.
    fn strangers_only(&self) -> bool {
        self.strangers > 0 && self.strangers == self.tried
    }
}
