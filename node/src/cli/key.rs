//! `key …`: the key that this device is. The agent draws it, writes it into every vault and starts again with it; here it is only asked for, waited for and told.

use super::args::{KeyRotate, Opens};
use super::context::Context;
use super::engine;
use super::password;
use super::session::{Session, usage, vault_name};
use super::stop::Stop;
use polykey_client::api::{KeyReply, KeyRequest, Secret, Status, Unlock};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::KeyChange;
use polykey_core::ids::NodeId;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long the agent may take to come back: it says goodbye to watches and peers, and a large store opens.
const BACK: Duration = Duration::from_mins(2);
/// Between two looks at its socket.
const LOOK: Duration = Duration::from_millis(50);
/// How an identity is unlocked with a key file, in the agent's status.
const BY_KEY_FILE: &str = "keyfile";

/// `polykey key rotate`
pub async fn rotate(context: &Context, args: &KeyRotate) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let status = session.status().await?;
    let names = in_vaults(&status);
    if args.dry.dry_run {
        context.output.done(format_args!(
            "would give this device another key in the place of {}, in {names}; nothing was written",
            status.node_id.short()
        ));
        return done(context, &status, None);
    }
    if !args.yes {
        confirm(context, &names)?;
    }
    let unlock = unlock(context, &args.opens, &status.unlock_method, "key rotate")?;
    let reply = session.change_key(&KeyRequest { unlock }).await?;
    drop(session);
    wait_until_back(context, &reply.new).await?;
    tell(context, &reply, &names);
    done(context, &status, Some(&reply))
}

fn confirm(context: &Context, names: &str) -> Result<(), Stop> {
    let Some(mut terminal) = context.terminal() else {
        return Err(usage(
            "this device would get another id, and there is no terminal to ask at",
            "--yes does it without a question, --dry-run says what it would do",
        ));
    };
    let question = format!(
        "This device gets another id in {names}; whoever knows it by the old one must be told, and the 24 words restore it no more. Go on?"
    );
    if terminal.confirm(&question, false)? {
        Ok(())
    } else {
        Err(Stop::Cancelled)
    }
}

/// What opens this device's identity: from a file, or asked for.
pub fn unlock(
    context: &Context,
    given: &Opens,
    method: &str,
    command: &str,
) -> Result<Unlock, Stop> {
    let secret = |bytes: &[u8]| Secret(Zeroizing::new(bytes.to_vec()));
    if let Some(file) = &given.key_file {
        return engine::read_key_file(file).map(|bytes| Unlock::KeyFile(secret(&bytes)));
    }
    if method == BY_KEY_FILE {
        return Err(usage(
            "this device is unlocked by a key file",
            "--key-file FILE names it",
        ));
    }
    let password = password::ask_for(context, given.password_file.as_deref(), command)?;
    Ok(Unlock::Password(secret(password.as_bytes())))
}

/// Waits until the agent answers with the new key.
pub async fn wait_until_back(context: &Context, new: &NodeId) -> Result<(), Stop> {
    let deadline = Instant::now() + BACK;
    while Instant::now() < deadline {
        if let Ok(mut session) = Session::open(&context.place).await
            && let Ok(status) = session.status().await
            && status.node_id == *new
        {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    let error = ApiError::new(
        Code::Unreachable,
        format!(
            "this device is {new} from now on, and its agent does not answer yet after {} s",
            BACK.as_secs()
        ),
    );
    let error = error.hint("nothing is lost: its next start goes on where it was");
    Err(error.next("polykey agent start --background").into())
}

/// What has to be told elsewhere, by hand.
pub fn tell_others(context: &Context, old: &NodeId, new: &NodeId) {
    context.output.warn(format_args!(
        "whoever knows this device by its old id has to be told, once each:\n  devices   polykey peer add {new}; polykey peer rm {old}\n  clusters  nodeId of its PolykeyPeer: {new}"
    ));
}

fn tell(context: &Context, reply: &KeyReply, names: &str) {
    context.output.done(format_args!(
        "this device is {} now, in the place of {}, in {names}",
        reply.new.short(),
        reply.old.short()
    ));
    tell_others(context, &reply.old, &reply.new);
    context.output.warn("the 24 words take vaults back as before (polykey vault recover); this device and its password they restore no more");
}

fn in_vaults(status: &Status) -> String {
    let names: Vec<String> = places(status).map(vault_name).collect();
    match names.len() {
        0 => "no vault".to_owned(),
        1 => format!("vault {}", names[0]),
        n => format!("{n} vaults ({})", names.join(", ")),
    }
}

fn places(status: &Status) -> impl Iterator<Item = &polykey_client::api::Vault> {
    status.vaults.iter().filter(|v| v.role != "none")
}

fn done(context: &Context, status: &Status, reply: Option<&KeyReply>) -> Result<(), Stop> {
    let vaults = match reply {
        Some(reply) => reply.vaults.clone(),
        None => places(status).map(|v| v.id).collect(),
    };
    let change = KeyChange {
        old_id: status.node_id,
        new_id: reply.map(|r| r.new),
        vaults,
        peers: status.peers.iter().map(|p| p.node).collect(),
        dry_run: reply.is_none(),
    };
    let name = change.new_id.unwrap_or(change.old_id).to_string();
    context.output.one(&change, &name)
}
