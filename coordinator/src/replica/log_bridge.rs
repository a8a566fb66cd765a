//! raft-rs logs through slog; this hands its lines to `tracing`, with their fields.

use std::fmt::{Arguments, Write};

use slog::{Drain, KV, Key, Level, OwnedKVList, Record, Serializer};

/// The logger of one replica.
pub(super) fn logger(replica: u64) -> slog::Logger {
    slog::Logger::root(ToTracing.fuse(), slog::o!("replica" => replica))
}

struct ToTracing;

struct Fields(String);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(slog::Error::from)
    }
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = slog::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Error> {
        let mut fields = Fields(String::new());
        values.serialize(record, &mut fields)?;
        record.kv().serialize(record, &mut fields)?;
        let (message, fields) = (record.msg(), fields.0);
        // Elections and refused votes are Raft's everyday life; what an operator must look at, the driver says itself.
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{message}{fields}"),
            Level::Warning | Level::Info => tracing::debug!(target: "raft", "{message}{fields}"),
            Level::Debug | Level::Trace => tracing::trace!(target: "raft", "{message}{fields}"),
        }
        Ok(())
    }
}
