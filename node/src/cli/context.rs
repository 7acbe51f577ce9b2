//! What every command needs: where the node is, how to print, whether a person can be asked.

use super::args::Global;
use super::output::Output;
use super::place::Place;
use super::session::Session;
use super::stop::Stop;
use super::terminal::Terminal;
use polykey_client::error::ApiError;
use polykey_client::reference::{Reference, Revision, Scope};

/// What every command needs.
pub struct Context {
    /// Where the node is.
    pub place: Place,
    /// How to print.
    pub output: Output,
    no_input: bool,
}

/// A reference with its vault settled.
pub struct Wanted {
    /// Name, id or prefix of the vault.
    pub vault: String,
    /// Path with its field.
    pub path: String,
    /// Which version.
    pub version: Option<Revision>,
}

impl Context {
    /// As the options say.
    pub fn of(global: &Global) -> Result<Context, Stop> {
        Ok(Context {
            place: Place::of(global)?,
            output: Output::new(global),
            no_input: global.no_input,
        })
    }

    /// A connection to the agent.
    pub async fn session(&self) -> Result<Session, ApiError> {
        Session::open(&self.place).await
    }

    /// The terminal, if a person can be asked.
    pub fn terminal(&self) -> Option<Terminal> {
        Terminal::open(self.no_input)
    }

    /// Reads a reference to one secret.
    pub fn reference(text: &str) -> Result<Wanted, Stop> {
        let reference = Reference::parse(text)?;
        let path = reference.full_path();
        Ok(Wanted {
            vault: or_default(reference.vault)?,
            path,
            version: reference.version,
        })
    }

    /// Reads a vault, a folder or a secret: vault and path.
    pub fn scope(text: &str) -> Result<(String, String), Stop> {
        let scope = Scope::parse(text)?;
        Ok((or_default(scope.vault)?, scope.path))
    }
}

fn or_default(vault: Option<String>) -> Result<String, Stop> {
    let default = || std::env::var("PK_VAULT").ok().filter(|v| !v.is_empty());
    vault.or_else(default).ok_or_else(|| {
        let error = Stop::usage("no vault is named, and there is no default");
        Stop::Error(error.hint("write VAULT:PATH, or set PK_VAULT"))
    })
}
