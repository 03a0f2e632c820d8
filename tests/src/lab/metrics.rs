//! The gateway's metrics page, read.

use std::collections::BTreeMap;

/// Series of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    text: String,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: u64,
}

impl Metrics {
    /// Reads Prometheus' text format, as far as the gateway uses it: whole numbers, and labels without quotes in them.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { text: text.to_owned(), samples: text.lines().filter_map(sample).collect() }
    }

    /// The page as it came.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The sum of all series of a name that have these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let wanted = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
        };
        self.samples.iter().filter(wanted).map(|sample| sample.value).sum()
    }

    /// Packets of an interface with a verdict and a reason; an empty word stands for all.
    #[must_use]
    pub fn packets(&self, interface: &str, verdict: &str, reason: &str) -> u64 {
        self.traffic("gateway_packets_total", interface, verdict, reason)
    }

    /// Bytes of an interface with a verdict and a reason; an empty word stands for all.
    #[must_use]
    pub fn bytes(&self, interface: &str, verdict: &str, reason: &str) -> u64 {
        self.traffic("gateway_bytes_total", interface, verdict, reason)
    }

    fn traffic(&self, name: &str, interface: &str, verdict: &str, reason: &str) -> u64 {
        let mut labels = vec![("interface", interface), ("verdict", verdict), ("reason", reason)];
        labels.retain(|(_, value)| !value.is_empty());
        self.sum(name, &labels)
    }
}

/// One line, `name{label="value"} number`; comments are none.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let label = |text: &str| {
        let (label, value) = text.split_once('=')?;
        Some((label.to_owned(), value.trim_matches('"').to_owned()))
    };
    Some(Sample {
        name: name.to_owned(),
        labels: labels.trim_end_matches('}').split(',').filter_map(label).collect(),
        value: value.parse::<f64>().ok()? as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let metrics = Metrics::parse(
            "# HELP gateway_packets_total Packets\n\
             gateway_packets_total{interface=\"a\",verdict=\"pass\",reason=\"ok\"} 5\n\
             gateway_packets_total{interface=\"a\",verdict=\"drop\",reason=\"land\"} 7\nup 1\n",
        );
        assert_eq!(metrics.packets("a", "", ""), 12);
        assert_eq!(metrics.packets("a", "pass", "ok"), 5);
        assert_eq!(metrics.packets("b", "", ""), 0);
        assert_eq!(metrics.sum("up", &[]), 1);
    }
}
