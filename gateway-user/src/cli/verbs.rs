//! What each verb asks of the running daemon, and how its answer is printed.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::args::{
    AllowVerb, BlockVerb, ChangeArgs, Global, LimitVerb, Output, SOCKET, Span, StopArgs, Verb, Which,
};
use super::error::{CliError, Status};
use super::events::events;
use super::render::{self, Style, clean};
use super::{caller, generate, input, orphan, print, print_json, print_lines, tell};
use crate::control::call::Caller;
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Done, Request, Row, Set};
use crate::model::document::{Changed, PrefixRow};
use crate::model::{OriginName, Prefix, Remark};

/// How long `stop` waits for the daemon to be gone.
const STOP: Duration = Duration::from_secs(30);

/// Does a verb that needs nothing but the control socket.
///
/// # Errors
/// What was not done and why, with the exit status. `run`, `check`, `replay`, `audit` and `doctor` are not done here.
pub fn execute(global: &Global, verb: Verb) -> Result<(), CliError> {
    let client = Client::new(socket(global));
    match verb {
        Verb::Status(output) => status(&client, output),
        Verb::Reload(args) => change(&client, &Request::Reload {}, args),
        Verb::Limit(verb) => limit(&client, verb),
        Verb::Mode(args) => {
            let (mode, scope) = (args.mode, args.scope);
            let request = Request::Mode { mode, scope, for_seconds: seconds(args.for_seconds) };
            change(&client, &request, args.change)
        }
        Verb::Block(verb) => block(&client, verb),
        Verb::Allow(verb) => allow(&client, verb),
        Verb::Sources(args) => {
            let rows = collect(&client, &Request::Sources { top: args.top, by: args.by }, |row| match row {
                Row::Source(row) => Some(row),
                _ => None,
            })?;
            show("sources", &rows, args.output, render::sources)
        }
        Verb::Events(args) => events(&client, &args),
        Verb::Stop(args) => stop(&client, args),
        Verb::Unblock { prefix, output } => del(&client, Set::Block, prefix, None, output.into()),
        Verb::Elsewhere { rest } => Err(elsewhere(&rest)),
        Verb::Completions { shell } => generate::completions(shell),
        Verb::Man { directory } => generate::man(directory.as_deref()),
        Verb::Run(_) | Verb::Check(_) | Verb::Replay(_) | Verb::Doctor(_) | Verb::Audit(_) => {
            Err(CliError::failed("this verb does not go through the control socket"))
        }
    }
}

/// The socket as given; else as the configuration says, where it can be read; else the usual one.
pub(super) fn socket(global: &Global) -> PathBuf {
    let configured = || {
        let text = std::fs::read_to_string(&global.config).ok()?;
        let table: toml::Table = text.parse().ok()?;
        table.get("control")?.get("socket")?.as_str().map(PathBuf::from)
    };
    global.socket.clone().or_else(configured).unwrap_or_else(|| PathBuf::from(SOCKET))
}

fn status(client: &Client, output: Output) -> Result<(), CliError> {
    let answer = match client.document(&Request::Status {}) {
        Err(error @ ClientError::NotRunning(_)) => return orphan::status(error, output),
        answer => answer?,
    };
    match answer {
        Done::Status(status) if output.json => print_json(&status),
        Done::Status(status) => print(&render::status(&status, Style::detect(), now())),
        Done::Changed(_) => Err(unexpected()),
    }
}

fn limit(client: &Client, verb: LimitVerb) -> Result<(), CliError> {
    match verb {
        LimitVerb::List(output) => {
            let rows = collect(client, &Request::LimitList {}, |row| match row {
                Row::Limit(row) => Some(row),
                _ => None,
            })?;
            show("limits", &rows, output, render::limits)
        }
        LimitVerb::Set { place, dimension, rate, burst, for_seconds, change: args } => {
            let for_seconds = seconds(for_seconds);
            change(client, &Request::LimitSet { place, dimension, rate, burst, for_seconds }, args)
        }
        LimitVerb::Unset { place, dimension, change: args } => {
            change(client, &Request::LimitUnset { place, dimension }, args)
        }
    }
}

/// A time as requests have it; nothing: no end.
fn seconds(span: Option<Span>) -> Option<u64> {
    span.and_then(|Span(seconds)| seconds)
}

fn block(client: &Client, verb: BlockVerb) -> Result<(), CliError> {
    match verb {
        BlockVerb::Add { prefix, for_seconds, reason, origin, change: args } => {
            let for_seconds = seconds(for_seconds);
            let request = match prefix {
                Which::One(prefix) => Request::BlockAdd { prefix, for_seconds, reason, origin },
                Which::Input => many((Set::Block, true), for_seconds, reason, origin, input::prefixes()?),
            };
            change(client, &request, args)
        }
        BlockVerb::Del { prefix, origin, output } => del(client, Set::Block, prefix, origin, output.into()),
        BlockVerb::List(output) => blocked(client, output),
    }
}

fn allow(client: &Client, verb: AllowVerb) -> Result<(), CliError> {
    match verb {
        AllowVerb::Add { prefix, for_seconds, output } => {
            let for_seconds = seconds(for_seconds);
            let request = match prefix {
                Which::One(prefix) => Request::AllowAdd { prefix, for_seconds },
                Which::Input => many((Set::Allow, true), for_seconds, None, None, input::prefixes()?),
            };
            change(client, &request, output.into())
        }
        AllowVerb::Del { prefix, change } => del(client, Set::Allow, prefix, None, change),
        AllowVerb::List(output) => trusted(client, output),
    }
}

fn del(
    client: &Client,
    set: Set,
    prefix: Which,
    origin: Option<OriginName>,
    args: ChangeArgs,
) -> Result<(), CliError> {
    let request = match (set, prefix) {
        (Set::Block, Which::One(prefix)) => Request::BlockDel { prefix, origin },
        (Set::Allow, Which::One(prefix)) => Request::AllowDel { prefix },
        (set, Which::Input) => many((set, false), None, None, origin, input::prefixes()?),
    };
    change(client, &request, args)
}

fn many(
    (set, adds): (Set, bool),
    for_seconds: Option<u64>,
    reason: Option<Remark>,
    origin: Option<OriginName>,
    prefixes: Vec<Prefix>,
) -> Request {
    // No more were read than can be asked for.
    let count = u32::try_from(prefixes.len()).unwrap_or(u32::MAX);
    Request::Many { set, adds, for_seconds, reason, origin, count, prefixes }
}

/// What somebody means who knows another program's word.
fn elsewhere(rest: &[String]) -> CliError {
    let word = std::env::args().nth(1).unwrap_or_else(|| "ban".to_owned());
    let target = rest.first().map_or("ADDRESS", String::as_str);
    let help = match word.as_str() {
        "unban" => format!("write `gateway block del {target}`"),
        "banned" | "list" => {
            "write `gateway block list`, `gateway limit list` or `gateway allow list`".to_owned()
        }
        "logs" | "log" => {
            "write `gateway events --follow`; the daemon's own log is `journalctl -u gateway`".to_owned()
        }
        "history" => "write `gateway audit query --since 1d`".to_owned(),
        "stats" => "write `gateway status` or `gateway sources`".to_owned(),
        "top" => "write `watch gateway sources`, or `gateway events --follow`".to_owned(),
        "why" => {
            format!("write `gateway events --source {target}`, or `gateway audit query --source {target}`")
        }
        _ => format!("write `gateway block add {target}`"),
    };
    CliError::usage(format!("there is no verb `{word}`")).help(help)
}

fn trusted(client: &Client, output: Output) -> Result<(), CliError> {
    let rows = collect(client, &Request::AllowList {}, prefix)?;
    show("allow", &rows, output, render::prefixes)
}

fn prefix(row: Row) -> Option<PrefixRow> {
    match row {
        Row::Prefix(row) => Some(row),
        _ => None,
    }
}

/// Rows of a table of the block list: a longer list is told in several, as it comes.
const TABLE_ROWS: usize = 1_000;

/// The block list can be long: it is printed as it comes, as JSON one object a line.
fn blocked(client: &Client, output: Output) -> Result<(), CliError> {
    let (mut rows, mut outcome, mut told) = (Vec::new(), Ok(()), false);
    client.rows(&Request::BlockList {}, |row| {
        match prefix(row) {
            Some(row) => rows.push(row),
            None => outcome = Err(unexpected()),
        }
        if rows.len() == TABLE_ROWS && outcome.is_ok() {
            outcome = tell_blocked(&rows, output);
            rows.clear();
            told = true;
        }
    })?;
    outcome?;
    if rows.is_empty() && told { Ok(()) } else { tell_blocked(&rows, output) }
}

fn tell_blocked(rows: &[PrefixRow], output: Output) -> Result<(), CliError> {
    if output.json {
        return print_lines(rows);
    }
    print(&render::prefixes(rows, Style::detect(), now()))
}

fn stop(client: &Client, args: StopArgs) -> Result<(), CliError> {
    let keep = match (args.keep, args.detach) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let changed = match ask(client, &Request::Stop { keep }) {
        Err(error) if error.status == Status::NotRunning => return orphan::stop(error, keep, args.output),
        other => other?,
    };
    if !client.wait_gone(STOP) {
        let message = format!("the gateway is still there after {} s", STOP.as_secs());
        return Err(CliError::failed(message).help("look at its log: `journalctl -u gateway`"));
    }
    report(&changed, args.output)
}

fn change(client: &Client, request: &Request, args: ChangeArgs) -> Result<(), CliError> {
    let caller = Caller { force: args.force, sessions: caller::sessions() };
    report(&ask(&client.clone().of(caller), request)?, args.output)
}

fn ask(client: &Client, request: &Request) -> Result<Changed, CliError> {
    match client.document(request)? {
        Done::Changed(changed) => Ok(changed),
        Done::Status(_) => Err(unexpected()),
    }
}

fn report(changed: &Changed, output: Output) -> Result<(), CliError> {
    if output.json {
        return print_json(changed);
    }
    for warning in &changed.warnings {
        tell(&format!("warning: {}\n", clean(warning)));
    }
    print(&render::changed(changed, now()))
}

fn collect<T>(
    client: &Client,
    request: &Request,
    pick: impl Fn(Row) -> Option<T>,
) -> Result<Vec<T>, CliError> {
    let (mut rows, mut strange) = (Vec::new(), false);
    client.rows(request, |row| match pick(row) {
        Some(row) => rows.push(row),
        None => strange = true,
    })?;
    if strange { Err(unexpected()) } else { Ok(rows) }
}

/// A list, as one JSON object with its name or as text.
fn show<T: Serialize>(
    name: &str,
    rows: &[T],
    output: Output,
    text: fn(&[T], Style, u64) -> String,
) -> Result<(), CliError> {
    if output.json {
        print_json(&std::collections::BTreeMap::from([(name, rows)]))
    } else {
        print(&text(rows, Style::detect(), now()))
    }
}

fn unexpected() -> CliError {
    ClientError::Answer("it answers another question".into()).into()
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
