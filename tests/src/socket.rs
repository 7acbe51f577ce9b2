//! A kept connection to an agent's Unix socket: what the command line does, without the start of a process for each request.

use anyhow::{Context, Result};
use hyper::Method;
use polykey_client::access::{AccessReply, AccessSet};
use polykey_client::api::{
    Edit, EditReply, Edits, PruneReply, PruneRequest, Put, Secret, Status, Vault, VaultName,
};
use polykey_client::http::{self, Connection};
use polykey_client::unix;
use polykey_core::enc;
use polykey_core::ids::CommitId;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Mode of every secret that is written here.
const MODE: u32 = 0o444;

/// The connection.
pub struct Socket(Connection);

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(path: &Path) -> Result<Socket> {
        Ok(Socket(unix::connect(path).await?))
    }

    /// Makes a vault.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn create(&mut self, name: &str) -> Result<Vault> {
        let name = VaultName {
            name: name.to_owned(),
        };
        Ok(self.0.call(Method::POST, "/v1/vaults", &name).await?)
    }

    /// Writes some secrets as one commit.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn edit(&mut self, vault: &str, secrets: &[(&str, &[u8])]) -> Result<EditReply> {
        let put = |(path, value): &(&str, &[u8])| {
            Edit::Put(Put {
                path: (*path).to_owned(),
                mode: MODE,
                value: Secret(Zeroizing::new(value.to_vec())),
            })
        };
        let body = enc::encode(&Edits {
            expect: None,
            edits: secrets.iter().map(put).collect(),
        });
        let path = format!("/v1/vaults/{vault}/edits");
        Ok(http::json(
            self.0
                .send(Method::POST, &path, "application/cbor", body)
                .await?,
        )
        .await?)
    }

    /// Writes a value of any size as one commit.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn write(&mut self, vault: &str, path: &str, value: Vec<u8>) -> Result<EditReply> {
        let at = format!("/v1/vaults/{vault}/secret?path={path}&mode={MODE}");
        let answer = self
            .0
            .send(Method::PUT, &at, "application/octet-stream", value);
        Ok(http::json(answer.await?).await?)
    }

    /// Reads a secret, of a version or of the newest.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn secret(
        &mut self,
        vault: &str,
        path: &str,
        version: Option<&CommitId>,
    ) -> Result<Vec<u8>> {
        let version = version.map(|v| format!("&version={v}")).unwrap_or_default();
        let at = format!("/v1/vaults/{vault}/secret?path={path}{version}");
        let answer = self
            .0
            .send(Method::GET, &at, "application/json", Vec::new())
            .await?;
        Ok(http::whole(answer).await?.to_vec())
    }

    /// Lets go of the contents of all versions before the newest.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn prune(&mut self, vault: &str) -> Result<PruneReply> {
        let request = PruneRequest::default();
        let at = format!("/v1/vaults/{vault}/prune");
        Ok(self.0.call(Method::POST, &at, &request).await?)
    }

    /// Everything that a node says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&mut self) -> Result<Status> {
        Ok(self.0.get("/v1/status").await?)
    }

    /// Puts an access set, as the warden does.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn put_access(&mut self, set: &AccessSet) -> Result<AccessReply> {
        self.0
            .call(Method::PUT, "/v1/access", set)
            .await
            .context("the node refuses the access set")
    }
}

/// Where the agent of a node path has its socket when `runtime` is its runtime folder.
#[must_use]
pub fn socket_of(node_path: &Path, runtime: &Path) -> PathBuf {
    unix::socket_path(node_path, Some(runtime))
}
