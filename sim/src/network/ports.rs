//! Free ports on loopback, outside the range from which the system draws ports for outgoing connections: one of those could
//! otherwise take the port of a process that is being restarted.

use std::net::{Ipv4Addr, TcpListener};

const LOWEST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// So many ports that are free now.
///
/// # Errors
/// When the range has not as many.
pub fn free(count: usize) -> std::io::Result<Vec<u16>> {
    let start: u16 = rand::random_range(0..COUNT);
    // All are held until the last is found, so that none is given twice.
    let mut held = Vec::with_capacity(count);
    for step in 0..COUNT {
        if held.len() == count {
            break;
        }
        let port = LOWEST + (start + step) % COUNT;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "all ports from 15000 to 29999 are taken"));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_different() {
        let ports = free(20).unwrap();
        let different: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(different.len(), 20);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
