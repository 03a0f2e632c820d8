//! What two rounds came to, side by side.

use gateway_tests::lab::Outcome;

use crate::gateway::NEIGHBOURS_SYN;
use crate::round::{FORGED, Flooded, Load, Plaintext, Round};

/// Width of a column of results.
const COLUMN: usize = 20;
/// Width of the column of names.
const NAMES: usize = 50;

/// Prints it all.
pub(crate) fn print(without: &Round, with: &Round, load: Load) {
    row("", "without gateway", "with gateway");
    println!("{}", "-".repeat(NAMES + 2 * COLUMN));
    println!("Nothing but honest clients");
    honest(&without.at_rest, &with.at_rest);
    meaning("The gateway is not in the way of those who speak TLS.");
    println!("HTTP without TLS on a TLS port");
    plaintext(&without.plaintext, &with.plaintext);
    meaning("What does not begin with a TLS ClientHello never comes to the application.");
    println!("UDP flood from one address, {} packets/s", count(load.flood_rate));
    flooded(&without.one_source, &with.one_source);
    meaning("One source gets its limit, here 200 datagrams/s, and not a packet more.");
    println!(
        "SYN flood from {} forged addresses, {} packets/s",
        count(u64::from(FORGED)),
        count(load.flood_rate)
    );
    flooded(&without.forged, &with.forged);
    let networks = FORGED / 256;
    meaning(&format!(
        "Sender and server share this machine: a server that is kept busy slows the sender down.\n     Each of {networks} neighbourhoods (/24) gets {NEIGHBOURS_SYN} SYNs/s; the honest client's own is as free as before.\n     With the gateway most answers are SYN cookies that it sends itself, from the driver, and keeps nothing of."
    ));
}

/// The parts that did not come out as they must with the gateway.
pub(crate) fn wrongs(with: &Round) -> Vec<String> {
    let mut wrongs = Vec::new();
    for (part, outcome) in [
        ("without any attack", &with.at_rest),
        ("during the UDP flood", &with.one_source.honest),
        ("during the SYN flood", &with.forged.honest),
    ] {
        if outcome.failed > 0 {
            let why = outcome.error.as_deref().unwrap_or("they took too long");
            wrongs.push(format!("{} honest requests failed {part}: {why}", outcome.failed));
        }
    }
    let Plaintext { answered, bytes_read, .. } = with.plaintext;
    if answered > 0 || bytes_read > 0 {
        wrongs.push(format!("{answered} plaintext requests were answered, {bytes_read} bytes were read"));
    }
    for (part, flood) in [("UDP", &with.one_source), ("SYN", &with.forged)] {
        // Half is far more than the limits leave.
        if flood.reached > flood.sent / 2 {
            wrongs.push(format!(
                "{} of {} packets of the {part} flood went through",
                flood.reached, flood.sent
            ));
        }
    }
    wrongs
}

fn honest(without: &Outcome, with: &Outcome) {
    let of = |outcome: &Outcome| format!("{} of {}", outcome.ok, outcome.ok + outcome.failed);
    let took = |outcome: &Outcome| match (outcome.quantile(0.5), outcome.quantile(1.0)) {
        (Some(median), Some(worst)) => format!("{:.0} / {:.0} ms", ms(median), ms(worst)),
        _ => "-".to_owned(),
    };
    row("  honest HTTPS requests answered", &of(without), &of(with));
    row("    that took (median / longest)", &took(without), &took(with));
}

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn plaintext(without: &Plaintext, with: &Plaintext) {
    let of = |plaintext: &Plaintext| format!("{} of {}", plaintext.answered, plaintext.sent);
    let bytes =
        |plaintext: &Plaintext| format!("{} of {}", count(plaintext.bytes_read), count(plaintext.bytes_sent));
    row("  requests answered by nginx (with error 400)", &of(without), &of(with));
    row("  bytes read by an application (port 8443)", &bytes(without), &bytes(with));
}

fn flooded(without: &Flooded, with: &Flooded) {
    row("  packets sent", &count(without.sent), &count(with.sent));
    let reached = |flood: &Flooded| {
        let share = flood.reached as f64 * 100.0 / flood.sent.max(1) as f64;
        format!("{} ({share:.1} %)", count(flood.reached))
    };
    row("  packets that reached the server", &reached(without), &reached(with));
    row("  answers that the server sent to these addresses", &count(without.answers), &count(with.answers));
    honest(&without.honest, &with.honest);
}

fn row(name: &str, without: &str, with: &str) {
    println!("{name:NAMES$}{without:>COLUMN$}{with:>COLUMN$}");
}

fn meaning(text: &str) {
    println!("  => {text}\n");
}

/// A number with commas.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
