//! Metrics as OTLP has them, in the making: the same families and samples as in the text.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as pb;

use super::counters::{LATENCY_BUCKETS_US, LatencyTotals};
use super::exemplars::Newest;
use super::otlp::key_value;

/// A value of a sample.
pub trait Number: std::fmt::Display {
    /// Whole where it is.
    fn number(&self) -> pb::number_data_point::Value;
}

macro_rules! whole {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            fn number(&self) -> pb::number_data_point::Value {
                pb::number_data_point::Value::AsInt(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )*};
}

whole!(u8, u32, u64, usize, i64);

impl Number for f64 {
    fn number(&self) -> pb::number_data_point::Value {
        pb::number_data_point::Value::AsDouble(*self)
    }
}

/// What points are of: counted since, and read at, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// When the node began to count.
    pub since_unix_ns: u64,
    /// Now.
    pub at_unix_ns: u64,
}

/// Families in the making.
#[derive(Debug, Default)]
pub struct Points {
    window: Window,
    metrics: Vec<pb::Metric>,
}

impl Points {
    /// Nothing yet.
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            metrics: Vec::new(),
        }
    }

    /// The families that have samples.
    pub(super) fn into_metrics(self) -> Vec<pb::Metric> {
        let mut metrics = self.metrics;
        metrics.retain(|metric| points_of(metric) > 0);
        metrics
    }

    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str, unit: Option<&str>) {
        let cumulative = pb::AggregationTemporality::Cumulative as i32;
        let data = match kind {
            "counter" => pb::metric::Data::Sum(pb::Sum {
                data_points: Vec::new(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            "histogram" => pb::metric::Data::Histogram(pb::Histogram {
                data_points: Vec::new(),
                aggregation_temporality: cumulative,
            }),
            _ => pb::metric::Data::Gauge(pb::Gauge::default()),
        };
        // As UCUM writes them.
        let unit = match unit {
            Some("seconds") => "s",
            Some("bytes") => "By",
            _ => "1",
        };
        self.metrics.push(pb::Metric {
            name: name.to_owned(),
            description: help.to_owned(),
            unit: unit.to_owned(),
            data: Some(data),
            ..pb::Metric::default()
        });
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: &impl Number) {
        let Some((data, mut point)) = self.next() else {
            return;
        };
        point.attributes = attributes(labels);
        point.value = Some(value.number());
        match data {
            pb::metric::Data::Sum(sum) => sum.data_points.push(point),
            pb::metric::Data::Gauge(gauge) => {
                // It is not counted since anything.
                point.start_time_unix_nano = 0;
                gauge.data_points.push(point);
            }
            _ => {}
        }
    }

    /// A family of what goes up and down, in that unit.
    pub(super) fn up_down(&mut self, name: &str, help: &str, unit: &str) {
        self.family(name, "counter", help, None);
        if let Some(metric) = self.metrics.last_mut()
            && let Some(pb::metric::Data::Sum(sum)) = &mut metric.data
        {
            sum.is_monotonic = false;
            unit.clone_into(&mut metric.unit);
        }
    }

    /// A value of it.
    pub(super) fn value(&mut self, attributes: Vec<KeyValue>, value: u64) {
        if let Some((pb::metric::Data::Sum(sum), mut point)) = self.next() {
            point.attributes = attributes;
            point.value = Some(value.number());
            sum.data_points.push(point);
        }
    }

    fn next(&mut self) -> Option<(&mut pb::metric::Data, pb::NumberDataPoint)> {
        let data = self.metrics.last_mut()?.data.as_mut()?;
        let point = pb::NumberDataPoint {
            start_time_unix_nano: self.window.since_unix_ns,
            time_unix_nano: self.window.at_unix_ns,
            ..pb::NumberDataPoint::default()
        };
        Some((data, point))
    }

    /// A histogram in seconds.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        totals: &LatencyTotals,
        exemplars: &Newest,
    ) {
        self.histogram_of(attributes(labels), totals);
        let last = self
            .metrics
            .last_mut()
            .and_then(|metric| metric.data.as_mut());
        let Some(pb::metric::Data::Histogram(histogram)) = last else {
            return;
        };
        let made = exemplars.iter().flatten().map(|exemplar| pb::Exemplar {
            time_unix_nano: exemplar.at_unix_ms.saturating_mul(1_000_000),
            trace_id: exemplar.trace_id.to_be_bytes().to_vec(),
            value: Some(pb::exemplar::Value::AsDouble(exemplar.took_us as f64 / 1e6)),
            ..pb::Exemplar::default()
        });
        if let Some(point) = histogram.data_points.last_mut() {
            point.exemplars = made.collect();
        }
    }

    /// The same with attributes as they are, and without traces that stand for it.
    pub(super) fn histogram_of(&mut self, attributes: Vec<KeyValue>, totals: &LatencyTotals) {
        let window = self.window;
        let last = self.metrics.last_mut();
        let Some(pb::metric::Data::Histogram(histogram)) =
            last.and_then(|metric| metric.data.as_mut())
        else {
            return;
        };
        histogram.data_points.push(pb::HistogramDataPoint {
            attributes,
            start_time_unix_nano: window.since_unix_ns,
            time_unix_nano: window.at_unix_ns,
            count: totals.count(),
            sum: Some(totals.sum_us as f64 / 1e6),
            bucket_counts: totals.buckets.to_vec(),
            explicit_bounds: LATENCY_BUCKETS_US
                .iter()
                .map(|us| *us as f64 / 1e6)
                .collect(),
            ..pb::HistogramDataPoint::default()
        });
    }
}

/// How many points a family has.
pub(super) fn points_of(metric: &pb::Metric) -> usize {
    match &metric.data {
        Some(pb::metric::Data::Sum(sum)) => sum.data_points.len(),
        Some(pb::metric::Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(pb::metric::Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    }
}

fn attributes(labels: &[(&str, &str)]) -> Vec<KeyValue> {
    let labels = labels.iter();
    labels
        .map(|(name, value)| key_value(name, (*value).to_owned().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::exemplars::Exemplar;
    use super::super::exposition::Exposition;
    use super::*;

    fn told() -> Vec<pb::Metric> {
        let mut told = Exposition::points(Window {
            since_unix_ns: 5,
            at_unix_ns: 9,
        });
        told.family("weir_x_bytes_total", "counter", "Bytes.");
        told.sample("weir_x_bytes_total", &[("a", "1")], 7_u64);
        told.sample("weir_x_bytes_total", &[("a", "2")], u64::MAX);
        told.family("weir_nothing", "gauge", "No sample.");
        told.family("weir_y", "gauge", "A y.");
        told.sample("weir_y", &[], 0.5);
        let mut totals = LatencyTotals::default();
        totals.buckets[6] = 2;
        totals.sum_us = 40_000;
        let mut exemplars = Newest::default();
        exemplars[6] = Some(Exemplar {
            trace_id: 10,
            took_us: 20_000,
            at_unix_ms: 1_001,
        });
        told.family("weir_z_seconds", "histogram", "Time.");
        told.histogram("weir_z_seconds", &[("s", "w")], &totals, &exemplars);
        told.into_metrics()
    }

    #[test]
    fn a_counter_is_a_cumulative_sum_and_a_gauge_has_no_start() {
        use pb::number_data_point::Value;
        let metrics = told();
        let names: Vec<&str> = metrics.iter().map(|metric| &*metric.name).collect();
        assert_eq!(names, ["weir_x_bytes_total", "weir_y", "weir_z_seconds"]);
        let units: Vec<&str> = metrics.iter().map(|metric| &*metric.unit).collect();
        assert_eq!(units, ["By", "1", "s"]);
        let Some(pb::metric::Data::Sum(sum)) = &metrics[0].data else {
            panic!("{metrics:?}");
        };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        let [first, second] = &sum.data_points[..] else {
            panic!("{sum:?}");
        };
        assert_eq!((first.start_time_unix_nano, first.time_unix_nano), (5, 9));
        assert_eq!(first.value, Some(Value::AsInt(7)));
        assert_eq!(first.attributes[0].key, "a");
        assert_eq!(second.value, Some(Value::AsInt(i64::MAX)));
        let Some(pb::metric::Data::Gauge(gauge)) = &metrics[1].data else {
            panic!("{metrics:?}");
        };
        let point = &gauge.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (0, 9));
        assert_eq!(point.value, Some(Value::AsDouble(0.5)));
    }

    #[test]
    fn a_histogram_has_its_bounds_and_the_traces_that_stand_for_it() {
        let metrics = told();
        let Some(pb::metric::Data::Histogram(histogram)) = &metrics[2].data else {
            panic!("{metrics:?}");
        };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (2, Some(0.04)));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(
            (point.bucket_counts[6], point.explicit_bounds[6]),
            (2, 0.025)
        );
        assert_eq!(point.exemplars[0].trace_id.last(), Some(&10));
    }
}
