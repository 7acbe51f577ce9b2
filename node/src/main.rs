//! The `polykey` program: a command line, and the agent that it starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    polykey::cli::main()
}
