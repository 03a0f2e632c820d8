//! `gateway replay`: for people and for programs.

use std::io::{self, BufWriter, StdoutLock, Write};

use gateway_common::{tables::TableSizes, verdict::Reason};
use serde_json::{Value, json};

use super::{
    CliError, Global,
    args::ReplayArgs,
    error::Status,
    print,
    render::{self, Style},
    tell,
};
use crate::{
    config::Config,
    host::Sets,
    model::Prefix,
    replay::{
        Connection, Judged, PolicyChoice, Replay,
        capture::{self, CaptureError},
        stand,
    },
};

/// What to give it.
const WHAT_IT_READS: &str = "give it a file of tcpdump or Wireshark: tcpdump -i eth0 -w FILE port 443";
/// Connections that people are shown; programs get all.
const SHOWN: usize = 50;

/// Replays a capture and prints what became of it.
///
/// # Errors
/// When the arguments or the configuration are wrong, or the file cannot be read to its end; what was read has been
/// printed then.
pub fn replay(args: &ReplayArgs, global: &Global) -> Result<(), CliError> {
    let config = configuration(args, global)?;
    let sets = Sets::from(TableSizes::default());
    let (stand, services) = stand(&config, sets).map_err(|error| CliError::usage(error.to_string()))?;
    let mut replay = Replay::new(stand, services, args.server.map(Prefix::network));
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let read = capture::read(&args.file, &mut |captured| {
        if let Some(judged) = replay.judge(captured)
            && args.output.json
            && written.is_ok()
        {
            written = line(&mut out, &packet(&judged));
        }
    });
    if let Err(error @ (CaptureError::NoCapture | CaptureError::Io(_))) = &read {
        return Err(CliError::failed(format!("{}: {error}", args.file.display())).help(WHAT_IT_READS));
    }
    if args.output.json {
        written = written.and_then(|()| lines(&mut out, &replay)).and_then(|()| out.flush());
        finished(written)?;
    } else {
        drop(out);
        print(&text(&replay, Style::detect()))?;
    }
    read.map_err(|error| {
        CliError::failed(format!("{}: {error}", args.file.display()))
            .help("what is printed is of the packets before; capture it again, or repair it with pcapfix")
    })
}

fn finished(written: io::Result<()>) -> Result<(), CliError> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| CliError::failed(format!("cannot write the output: {error}"))),
    }
}

/// Refuses services with a port in common.
pub(super) fn apart(choices: &[PolicyChoice], help: &str) -> Result<(), CliError> {
    if PolicyChoice::has_overlap(choices) {
        return Err(CliError::usage("two services have a port in common").help(help));
    }
    Ok(())
}

/// What is asked for on the command line, else the configuration file.
fn configuration(args: &ReplayArgs, global: &Global) -> Result<Config, CliError> {
    let mut choices = args.services.clone();
    choices.extend(args.all_ports.map(PolicyChoice::from));
    apart(&choices, "name each port once; --all-ports names all of them")?;
    if !choices.is_empty() {
        return Ok(PolicyChoice::configuration(&choices));
    }
    Config::load(&global.config).map_err(|report| {
        tell(&format!(
            "{}\nWithout a configuration file: gateway replay --service tls:443 FILE\n",
            report.render(false)
        ));
        CliError::reported(Status::Usage)
    })
}

fn line(out: &mut BufWriter<StdoutLock<'_>>, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn packet(judged: &Judged<'_>) -> Value {
    let mut value = json!({
        "frame": judged.frame,
        "verdict": judged.verdict.action.name(),
        "reason": judged.verdict.reason.name(),
        "service": judged.service,
    });
    if judged.truncated {
        value["truncated"] = Value::Bool(true);
    }
    value
}

fn lines(out: &mut BufWriter<StdoutLock<'_>>, replay: &Replay) -> io::Result<()> {
    for connection in replay.connections() {
        line(out, &connection_value(connection))?;
    }
    line(out, &summary(replay))
}

fn connection_value(connection: &Connection) -> Value {
    json!({
        "connection": {
            "protocol": connection.protocol.name(),
            "client": connection.client.0,
            "client_port": connection.client.1,
            "server": connection.server.0,
            "server_port": connection.server.1,
            "first_frame": connection.first_frame,
        },
        "packets_passed": connection.packets_passed,
        "packets_dropped": connection.packets_dropped,
        "payload_bytes_passed": connection.payload_bytes_passed,
        "payload_bytes_held": connection.payload_bytes_held,
        "reasons": connection.reasons,
    })
}

fn summary(replay: &Replay) -> Value {
    let totals = replay.totals();
    let reasons: serde_json::Map<_, _> = Reason::ALL
        .iter()
        .map(|&reason| (reason.name().to_owned(), replay.reason(reason)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name, Value::from(count)))
        .collect();
    json!({ "summary": {
        "mode": "enforce",
        "packets": totals.packets,
        "passed": totals.passed,
        "dropped": totals.dropped,
        "from_server": totals.from_server,
        "unknown_link": totals.unknown_link,
        "truncated": totals.truncated,
        "connections": replay.connections().count(),
        "reasons": reasons,
    } })
}

/// For people: connections, what was dropped and why, and the sum.
fn text(replay: &Replay, style: Style) -> String {
    let mut text = String::new();
    let count = replay.connections().count();
    if count > 0 {
        text += &render::connections(replay.connections().take(SHOWN), style);
        if count > SHOWN {
            text +=
                &format!("... and {} more; --json prints all\n", render::thousands((count - SHOWN) as u64));
        }
        text.push('\n');
    }
    let reasons = Reason::ALL.iter().map(|&reason| (reason, replay.reason(reason)));
    let reasons: Vec<_> = reasons.filter(|(_, count)| *count > 0).collect();
    if !reasons.is_empty() {
        text += &render::reasons(&reasons, style);
        text.push('\n');
    }
    let totals = replay.totals();
    text += &format!(
        "{} packets: {} would be passed and {} dropped in enforce mode; {} came from a server and are not judged\n",
        render::thousands(totals.packets),
        render::thousands(totals.passed),
        render::thousands(totals.dropped),
        render::thousands(totals.from_server),
    );
    for (count, what) in [
        (
            totals.truncated,
            "were captured in part: the rest counts as zeros, and a verdict on it may be wrong",
        ),
        (totals.unknown_link, "have a link layer that is not known, and are not judged"),
    ] {
        if count > 0 {
            text += &format!("{} of them {what}\n", render::thousands(count));
        }
    }
    text
}
