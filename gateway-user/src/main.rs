//! The `gateway` command: which module does which verb.

use std::{path::Path, process::ExitCode};

use clap::Parser;
use gateway_user::{
    cli::{Cli, Verb, audit, check, error, execute, replay, run},
    doctor, kernel,
};

fn main() -> ExitCode {
    let Cli { global, verb } = Cli::parse();
    error::exit(match verb {
        Verb::Run(args) => run(args, global),
        Verb::Check(args) => check(&args, &global),
        Verb::Replay(args) => replay(&args, &global),
        Verb::Audit(verb) => audit(&verb, &global),
        Verb::Doctor(args) => {
            let own = doctor::Own { object: kernel::embedded(), pins: Path::new(kernel::pins::ROOT) };
            doctor::run(&args, &global, &own)
        }
        verb => execute(&global, verb),
    })
}
