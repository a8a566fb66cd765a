//! What a measurement ran on: no figure without it.

use std::path::Path;

/// The machine and the build, as far as the system says.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Model of the processor.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Memory, GiB, rounded.
    pub memory_gib: u64,
    /// Kernel.
    pub kernel: String,
    /// This program's build: optimised or not.
    pub build: &'static str,
}

impl Hardware {
    /// Of this machine.
    #[must_use]
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&text("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self {
            processor: field(&text("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (memory_kib + (1 << 19)) >> 20,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            build: if cfg!(debug_assertions) { "not optimised: figures say nothing" } else { "release" },
        }
    }
}
