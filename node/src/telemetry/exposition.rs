//! Metrics as text: the Prometheus format 0.0.4, and OpenMetrics 1.0 for who asks for it. Or as OTLP has them.

use std::fmt::{self, Write as _};

use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::counters::{LATENCY_BUCKETS_US, LatencyTotals};
use super::exemplars::{Exemplar, Newest};
use super::points::{Number, Points, Window};

/// Which text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextFormat {
    /// Version 0.0.4.
    #[default]
    Prometheus,
    /// Version 1.0, with units, exemplars and an end.
    OpenMetrics,
}

impl TextFormat {
    /// What a reader with this `Accept` gets: OpenMetrics only if it says so.
    pub fn of_accept(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// As it is told in `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Metrics in the making, as a text or as points: whoever tells them does not know as which.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    format: TextFormat,
    points: Option<Points>,
}

impl Exposition {
    /// An empty text.
    pub fn new(format: TextFormat) -> Self {
        Self {
            format,
            ..Self::default()
        }
    }

    /// No points yet.
    pub fn points(window: Window) -> Self {
        Self {
            points: Some(Points::new(window)),
            ..Self::default()
        }
    }

    fn is_open(&self) -> bool {
        self.format == TextFormat::OpenMetrics
    }

    /// Starts a family; `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        if let Some(points) = &mut self.points {
            let bare = name.strip_suffix("_total").unwrap_or(name);
            return points.family(name, kind, help, unit_of(bare));
        }
        // OpenMetrics names a counter without what its samples end in.
        let bare = match kind {
            "counter" if self.is_open() => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let _ = writeln!(self.text, "# HELP {bare} {help}\n# TYPE {bare} {kind}");
        if self.is_open()
            && let Some(unit) = unit_of(bare)
        {
            let _ = writeln!(self.text, "# UNIT {bare} {unit}");
        }
    }

    /// One sample; labels as name and value.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Number) {
        if let Some(points) = &mut self.points {
            return points.sample(labels, &value);
        }
        self.head(name, "", labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// One histogram in seconds.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        totals: &LatencyTotals,
        exemplars: &Newest,
    ) {
        if let Some(points) = &mut self.points {
            return points.histogram(labels, totals, exemplars);
        }
        let mut cumulative = 0;
        for (at, (count, exemplar)) in totals.buckets.iter().zip(exemplars).enumerate() {
            cumulative += count;
            let bound = match LATENCY_BUCKETS_US.get(at) {
                // OpenMetrics wants a point in each number.
                Some(us) if self.is_open() => format!("{:?}", *us as f64 / 1e6),
                Some(us) => (*us as f64 / 1e6).to_string(),
                None => "+Inf".to_owned(),
            };
            self.head(name, "_bucket", labels, Some(&bound));
            let _ = write!(self.text, " {cumulative}");
            if let Some(exemplar) = exemplar.filter(|_| self.is_open()) {
                self.exemplar(&exemplar);
            }
            self.text.push('\n');
        }
        self.head(name, "_sum", labels, None);
        let _ = writeln!(self.text, " {}", totals.sum_us as f64 / 1e6);
        self.head(name, "_count", labels, None);
        let _ = writeln!(self.text, " {}", totals.count());
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        let _ = write!(
            self.text,
            " # {{trace_id=\"{:032x}\"}} {} {}.{:03}",
            exemplar.trace_id,
            exemplar.took_us as f64 / 1e6,
            exemplar.at_unix_ms / 1_000,
            exemplar.at_unix_ms % 1_000,
        );
    }

    fn head(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        let labels = labels
            .iter()
            .copied()
            .chain(bound.map(|bound| ("le", bound)));
        let mut opened = false;
        for (label, text) in labels {
            self.text.push(if opened { ',' } else { '{' });
            opened = true;
            let _ = write!(self.text, "{label}=\"{}\"", Escaped(text));
        }
        if opened {
            self.text.push('}');
        }
    }

    /// The points, by family.
    pub fn into_metrics(self) -> Vec<Metric> {
        self.points.map(Points::into_metrics).unwrap_or_default()
    }

    /// The text.
    pub fn into_text(mut self) -> String {
        if self.is_open() {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The unit that a name ends in.
fn unit_of(name: &str) -> Option<&'static str> {
    ["seconds", "bytes"].into_iter().find(|unit| {
        name.strip_suffix(unit)
            .is_some_and(|rest| rest.ends_with('_'))
    })
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_samples_stand_on_lines_of_their_own() {
        let mut text = Exposition::default();
        text.family("weir_x_total", "counter", "An x.");
        text.sample("weir_x_total", &[("a", "q\"\\\n"), ("b", "2")], 7_u64);
        assert_eq!(
            text.into_text(),
            "# HELP weir_x_total An x.\n# TYPE weir_x_total counter\n\
             weir_x_total{a=\"q\\\"\\\\\\n\",b=\"2\"} 7\n"
        );
    }

    #[test]
    fn openmetrics_names_counters_bare_tells_units_and_exemplars_and_ends() {
        let mut text = Exposition::new(TextFormat::OpenMetrics);
        text.family("weir_x_bytes_total", "counter", "Bytes.");
        text.sample("weir_x_bytes_total", &[], 7_u64);
        let mut totals = LatencyTotals::default();
        totals.buckets[6] = 2;
        let mut exemplars = Newest::default();
        exemplars[6] = Some(Exemplar {
            trace_id: 10,
            took_us: 20_000,
            at_unix_ms: 1_001,
        });
        text.family("weir_y_seconds", "histogram", "Time.");
        text.histogram("weir_y_seconds", &[("s", "w")], &totals, &exemplars);
        let text = text.into_text();
        for line in [
            "# TYPE weir_x_bytes counter",
            "# UNIT weir_x_bytes bytes",
            "weir_x_bytes_total 7",
            "# UNIT weir_y_seconds seconds",
            "weir_y_seconds_bucket{s=\"w\",le=\"0.025\"} 2 \
             # {trace_id=\"0000000000000000000000000000000a\"} 0.02 1.001",
            "weir_y_seconds_bucket{s=\"w\",le=\"1.0\"} 2",
            "weir_y_seconds_bucket{s=\"w\",le=\"+Inf\"} 2",
            "weir_y_seconds_count{s=\"w\"} 2",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        assert!(
            TextFormat::of_accept("application/openmetrics-text;version=1.0.0,*/*;q=0.1")
                == TextFormat::OpenMetrics
        );
        assert!(TextFormat::of_accept("text/plain, */*") == TextFormat::Prometheus);
    }
}
