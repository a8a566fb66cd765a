//! Figures as a table and as JSON.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use stockmesh_service::output::{OutputFormat, Table, print};

use super::BenchArgs;
use super::hardware::Hardware;

/// What one level came to.
pub struct Figures {
    /// Orders answered within the measured period.
    pub placed: u64,
    /// Orders refused within it.
    pub refused: u64,
    /// Length of the period, seconds.
    pub seconds: f64,
    /// Time from sending an order to its answer, microseconds.
    pub latency_us: Histogram<u64>,
}

impl Figures {
    /// Orders placed a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.placed as f64 / self.seconds
    }
}

/// Figures of a run.
pub struct Report {
    hardware: Hardware,
    setting: Value,
    levels: Vec<(&'static str, usize, Figures)>,
    /// All replicas had the same state at the end.
    pub replicas_agree: bool,
}

impl Report {
    pub(super) fn new(args: &BenchArgs) -> Self {
        let BenchArgs { nodes, items, lines, hot, message, seconds, connections, .. } = args;
        let setting = json!({
            "replicas": 3, "nodes": nodes, "items": items, "lines": lines, "zipf": 1.05, "hot_item": hot,
            "orders_a_message": message, "seconds_a_level": seconds, "connections": connections, "tls": false,
        });
        Self { hardware: Hardware::read(), setting, levels: Vec::new(), replicas_agree: false }
    }

    pub(super) fn add(&mut self, way: &'static str, in_flight: usize, figures: Figures) {
        eprintln!("{way}, {in_flight} in flight: {:.0} orders/s", figures.rate());
        self.levels.push((way, in_flight, figures));
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let Hardware { processor, processors, memory_gib, kernel, build } = &self.hardware;
        let levels = self.levels.iter().map(|(way, in_flight, figures)| {
            let at = |quantile: f64| figures.latency_us.value_at_quantile(quantile);
            json!({
                "way": way, "in_flight": in_flight, "orders_per_second": figures.rate().round(),
                "placed": figures.placed, "refused": figures.refused, "seconds": figures.seconds,
                "latency_us": { "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": figures.latency_us.max() },
            })
        });
        json!({
            "hardware": {
                "processor": processor, "processors": processors, "memory_gib": memory_gib, "kernel": kernel,
                "build": build, "version": env!("CARGO_PKG_VERSION"),
            },
            "setting": self.setting,
            "levels": levels.collect::<Vec<_>>(),
            "replicas_agree": self.replicas_agree,
        })
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new(&["way", "in flight", "orders/s", "p50 ms", "p99 ms", "p99.9 ms", "refused"]);
        for (way, in_flight, figures) in &self.levels {
            let at = |quantile: f64| format!("{:.2}", figures.latency_us.value_at_quantile(quantile) as f64 / 1e3);
            table.push(vec![
                (*way).to_owned(),
                in_flight.to_string(),
                format!("{:.0}", figures.rate()),
                at(0.5),
                at(0.99),
                at(0.999),
                figures.refused.to_string(),
            ]);
        }
        print(OutputFormat::Table, &table, &Value::Null);
        let Hardware { processor, processors, memory_gib, kernel, build } = &self.hardware;
        println!("\n{processors} x {processor}, {memory_gib} GiB, Linux {kernel}; build: {build}");
        println!("replicas and load on this machine, loopback without TLS, every answer durable on a majority");
        let agree = if self.replicas_agree { "hold the same state" } else { "DIFFER" };
        println!("at the end the replicas {agree}");
    }
}
