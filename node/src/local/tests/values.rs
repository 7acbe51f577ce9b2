//! Values as bodies on the socket, of every size.

use super::world::World;
use hyper::Method;
use polykey_client::api::{EditReply, MAX_VALUE, VERSION_HEADER};
use polykey_client::error::{ApiError, Code};
use polykey_client::http::{Connection, json, parts, success};
use polykey_core::ids::VaultId;

async fn write(
    admin: &mut Connection,
    vault: &VaultId,
    query: &str,
    value: Vec<u8>,
) -> Result<EditReply, ApiError> {
    let path = format!("/v1/vaults/{vault}/secret?{query}");
    let answer = admin.send(Method::PUT, &path, "application/octet-stream", value);
    json(answer.await?).await
}

async fn read(admin: &mut Connection, vault: &VaultId, path: &str) -> (Vec<u8>, String) {
    let path = format!("/v1/vaults/{vault}/secret?path={path}");
    let answer = admin.send(Method::GET, &path, "application/json", vec![]);
    let answer = success(answer.await.unwrap()).await.unwrap();
    let version = answer.headers()[VERSION_HEADER]
        .to_str()
        .unwrap()
        .to_owned();
    let mut all = Vec::new();
    let taken = parts(answer, MAX_VALUE, |part| {
        all.extend_from_slice(part);
        Ok::<_, ApiError>(())
    });
    taken.await.unwrap();
    (all, version)
}

fn bytes(size: u64) -> Vec<u8> {
    let size = usize::try_from(size).unwrap();
    (0u64..).flat_map(u64::to_le_bytes).take(size).collect()
}

#[tokio::test]
async fn a_value_of_any_size_to_64_mib_comes_back_and_one_byte_more_is_refused() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let vault = world.services.vaults.create("files").await.unwrap();
    let all = bytes(MAX_VALUE + 1);
    for size in [0, 1, 65_535, 65_536, 1 << 20, MAX_VALUE - 1, MAX_VALUE] {
        let value = &all[..usize::try_from(size).unwrap()];
        let query = format!("path=file&mode={}", 0o400);
        let wrote = write(&mut admin, &vault, &query, value.to_vec())
            .await
            .unwrap();
        assert_eq!(wrote.changed, ["file"], "{size} bytes");
        let (found, version) = read(&mut admin, &vault, "file").await;
        assert!(found == value, "{size} bytes come back");
        assert_eq!(version, wrote.version.to_string());
        let again = write(&mut admin, &vault, &query, value.to_vec())
            .await
            .unwrap();
        assert!(again.changed.is_empty(), "the same {size} bytes again");
    }
    let refused = write(&mut admin, &vault, "path=file&mode=292", all).await;
    assert!(
        refused.is_err_and(|e| matches!(e.code, Code::TooLarge | Code::Unreachable)),
        "refused before it is read"
    );
    let mut admin = world.admin().await;
    let (found, _) = read(&mut admin, &vault, "file").await;
    assert_eq!(found.len() as u64, MAX_VALUE, "what was there stays");
}

#[tokio::test]
async fn a_file_is_written_only_on_the_version_that_its_writer_saw() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let vault = world.services.vaults.create("files").await.unwrap();
    let first = write(&mut admin, &vault, "path=a&mode=292", bytes(200_000))
        .await
        .unwrap();
    let second = write(&mut admin, &vault, "path=b&mode=292", bytes(70_000))
        .await
        .unwrap();
    let on = |version| format!("path=a&mode=292&expect={version}");
    let late = write(&mut admin, &vault, &on(first.version), bytes(300_000)).await;
    assert_eq!(late.unwrap_err().code, Code::Conflict);
    assert_eq!(read(&mut admin, &vault, "a").await.0.len(), 200_000);
    let in_time = write(&mut admin, &vault, &on(second.version), bytes(300_000)).await;
    assert_eq!(in_time.unwrap().changed, ["a"]);
    for query in [
        "path=a",
        "path=&mode=292",
        "path=a/../b&mode=292",
        "path=a&mode=292&expect=x",
    ] {
        let refused = write(&mut admin, &vault, query, bytes(10)).await;
        assert_eq!(refused.unwrap_err().code, Code::Usage, "{query}");
    }
}
