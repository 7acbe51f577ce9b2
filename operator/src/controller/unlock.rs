//! The unlock Secret of the nodes: 32 random bytes, made once. The operator may create it and may never read, change or delete it; a policy holds its name.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of a key file.
const KEY_BYTES: usize = 32;
/// First wait after a failure; the nodes cannot start without the Secret.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Why the Secret was not made.
#[derive(Debug, thiserror::Error)]
enum UnlockError {
    #[error("the system gives no random bytes")]
    Random(getrandom::Error),
    #[error("cannot create the unlock Secret")]
    Create(#[source] kube::Error),
}

/// Makes the Secret unless it is there, and tries until one of both is so.
pub async fn ensure(client: Client, namespace: String, release: String) {
    let api = Api::<Secret>::namespaced(client, &namespace);
    let mut wait = BACKOFF_MIN;
    loop {
        match create(&api, &release).await {
            Ok(true) => {
                return tracing::info!(
                    secret = name(&release),
                    "made the unlock Secret of the nodes; keep a copy of it apart from the volumes"
                );
            }
            Ok(false) => return,
            Err(error) => {
                tracing::error!(error = %error, cause = error_source(&error), "the nodes cannot start without their unlock Secret");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
}

async fn create(api: &Api<Secret>, release: &str) -> Result<bool, UnlockError> {
    let mut key = vec![0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(UnlockError::Random)?;
    match api
        .create(&PostParams::default(), &secret(release, key))
        .await
    {
        Ok(made) => {
            debug_assert_eq!(made.name_any(), name(release));
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(UnlockError::Create(error)),
    }
}

fn name(release: &str) -> String {
    format!("{release}-unlock")
}

fn secret(release: &str, key: Vec<u8>) -> Secret {
    let labels = [
        ("app.kubernetes.io/managed-by", "polykey"),
        ("app.kubernetes.io/instance", release),
        ("app.kubernetes.io/component", "unlock"),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(name(release)),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            ..ObjectMeta::default()
        },
        // Changed, it would lock every node out of its store.
        immutable: Some(true),
        type_: Some("Opaque".into()),
        data: Some(BTreeMap::from([("key".to_owned(), ByteString(key))])),
        ..Secret::default()
    }
}

fn error_source(error: &UnlockError) -> String {
    std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_has_the_name_that_the_policy_allows_and_one_key() {
        let secret = secret("polykey", vec![9; KEY_BYTES]);
        assert_eq!(secret.metadata.name.as_deref(), Some("polykey-unlock"));
        let data = secret.data.expect("data");
        assert_eq!(data.keys().collect::<Vec<_>>(), ["key"]);
        assert_eq!(data["key"].0.len(), 32);
        assert!(secret.metadata.owner_references.is_none());
    }
}
