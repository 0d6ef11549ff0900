//! Reads the text format of Prometheus: the samples of one scrape. Lines that it does not understand are ignored,
//! because a server can add new forms.

mod histogram;

pub use histogram::{Histogram, Quantile};

/// One value of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSample {
    name: String,
    labels: Vec<(String, String)>,
    /// The value, which can be infinite or not a number.
    pub value: f64,
}

impl MetricSample {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn has_labels(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

/// The samples of one scrape.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricSamples {
    samples: Vec<MetricSample>,
}

impl MetricSamples {
    /// Parses the body of a `/metrics` response.
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter_map(parse_line).collect() }
    }

    /// Parses only the series of these metrics, for a scrape of which little is used. A histogram is given without the
    /// suffixes of its series.
    pub fn parse_only(text: &str, metrics: &[&str]) -> Self {
        const SUFFIXES: [&str; 4] = ["", "_bucket", "_sum", "_count"];
        let is_wanted = |line: &&str| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            metrics
                .iter()
                .any(|metric| name.strip_prefix(metric).is_some_and(|suffix| SUFFIXES.contains(&suffix)))
        };
        Self { samples: text.lines().filter(is_wanted).filter_map(parse_line).collect() }
    }

    /// The series with this name.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a MetricSample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of the series with this name and these label values; `None` if there is no such series.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matching = self.series(name).filter(|sample| sample.has_labels(labels));
        matching.map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// The sum of the histograms with this name; `None` if there is no such histogram.
    pub fn histogram(&self, name: &str) -> Option<Histogram> {
        let series = format!("{name}_bucket");
        let bounds =
            self.series(&series).filter_map(|bucket| Some((bucket.label("le")?.parse().ok()?, bucket.value)));
        Histogram::from_cumulative(bounds)
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether the scrape does not contain a sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

/// Parses `name{label="value",…} value timestamp`, where labels and timestamp are optional.
fn parse_line(line: &str) -> Option<MetricSample> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(labels) => parse_labels(labels)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| MetricSample { name: name.to_owned(), labels, value })
}

/// Parses the labels and returns them with the text behind the closing brace.
fn parse_labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = text.split_once('=')?;
        let quoted = quoted.trim_start().strip_prefix('"')?;
        let (value, rest) = parse_quoted(quoted)?;
        labels.push((name.trim().to_owned(), value));
        text = rest;
    }
}

/// Reads up to the closing quote and resolves the escapes.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a frontend 1.6.1.
    const RECORDED: &str = "\
# HELP dynamo_frontend_model_kv_cache_block_size KV cache block size in tokens
# TYPE dynamo_frontend_model_kv_cache_block_size gauge
dynamo_frontend_model_kv_cache_block_size{model=\"tiny\"} 16
dynamo_transport_tcp_bytes_sent_total 9372
events{event_type=\"stored\",status=\"ok\",worker_id=\"1\"} 3
events{event_type=\"stored\",status=\"ok\",worker_id=\"2\"} 4
events{event_type=\"removed\",status=\"ok\",worker_id=\"2\"} 1e2
bucket{le=\"+Inf\"} +Inf 1795982073459
text{a=\"quote \\\" comma , brace } line \\n\",b=\"\\\\\",} 0.5
cut{a=\"b
name without a value
";

    #[test]
    fn sums_series_by_label() {
        let samples = MetricSamples::parse(RECORDED);
        assert_eq!(samples.sum("dynamo_frontend_model_kv_cache_block_size", &[]), Some(16.0));
        assert_eq!(samples.sum("dynamo_transport_tcp_bytes_sent_total", &[]), Some(9372.0));
        assert_eq!(samples.sum("events", &[("event_type", "stored"), ("status", "ok")]), Some(7.0));
        assert_eq!(samples.sum("events", &[("event_type", "removed")]), Some(100.0));
        assert_eq!(samples.sum("events", &[("event_type", "cleared")]), None);
        assert_eq!(samples.sum("bucket", &[]), Some(f64::INFINITY));
        let text = [("a", "quote \" comma , brace } line \n"), ("b", "\\")];
        assert_eq!(samples.sum("text", &text), Some(0.5));
        assert_eq!((samples.len(), samples.is_empty()), (7, false));
    }

    #[test]
    fn reads_only_the_wanted_metrics() {
        let text = "a 1\na_total 2\nb_bucket{le=\"1\"} 3\nb_sum 4\nb_count 5\nbb 6\n";
        let samples = MetricSamples::parse_only(text, &["a", "b"]);
        assert_eq!(
            (samples.len(), samples.sum("a", &[]), samples.sum("b_sum", &[])),
            (4, Some(1.0), Some(4.0))
        );
    }

    #[test]
    fn ignores_what_is_not_a_sample() {
        for text in ["", "\n\n", "# HELP a b", "{} 1", "a", "a{b=\"c\" 1", "a{b} 1", "a x", "<html>1</html>"]
        {
            assert!(MetricSamples::parse(text).is_empty(), "{text}");
        }
    }
}
