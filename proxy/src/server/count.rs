//! What the doors of one listener share in the whole process: its connection limit, its tunnels, its series. Touched
//! when a connection opens and closes, never on the path of a request.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::{drain::Tunnels, telemetry::ListenerSeries};

/// One listener in the whole process.
#[derive(Debug, Default)]
pub struct Hall {
    /// Open tunnels of the process, by generation.
    pub tunnels: Arc<Tunnels>,
    /// The listener's metrics.
    pub series: Arc<ListenerSeries>,
    open: AtomicUsize,
    shaking: AtomicUsize,
}

/// One handshake under way; dropped, it is over.
#[derive(Debug)]
pub struct Turn(Arc<Hall>);

/// One open connection; dropped, it is closed.
#[derive(Debug)]
pub struct Permit {
    hall: Arc<Hall>,
    worker: usize,
}

impl Hall {
    /// A listener without connections.
    pub fn new(tunnels: Arc<Tunnels>, series: Arc<ListenerSeries>) -> Arc<Self> {
        Arc::new(Self { tunnels, series, open: AtomicUsize::new(0), shaking: AtomicUsize::new(0) })
    }

    /// Room for one more connection on `worker`, unless `max` are open.
    pub fn admit(self: &Arc<Self>, worker: usize, max: usize) -> Option<Permit> {
        if self.open.fetch_add(1, Relaxed) >= max {
            self.open.fetch_sub(1, Relaxed);
            self.series.rejected(worker);
            return None;
        }
        self.series.accepted(worker);
        Some(Permit { hall: Arc::clone(self), worker })
    }

    /// Room for one more handshake, unless `max` are under way.
    pub fn shake(self: &Arc<Self>, max: usize) -> Option<Turn> {
        let turn = Turn(Arc::clone(self));
        (self.shaking.fetch_add(1, Relaxed) < max).then_some(turn)
    }

    /// Handshakes under way now.
    pub fn handshakes(&self) -> usize {
        self.shaking.load(Relaxed)
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.open.load(Relaxed)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.shaking.fetch_sub(1, Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.hall.open.fetch_sub(1, Relaxed);
        self.hall.series.closed(self.worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_over_the_limit_finds_no_room_until_another_closes() {
        let hall = Arc::new(Hall::default());
        let permits = [hall.admit(0, 2).unwrap(), hall.admit(1, 2).unwrap()];
        assert!(hall.admit(0, 2).is_none());
        assert_eq!(hall.connections(), 2);
        drop(permits);
        assert!(hall.admit(0, 2).is_some());
        assert_eq!(hall.connections(), 0);
    }

    #[test]
    fn a_handshake_over_the_limit_finds_no_room_until_another_is_over() {
        let hall = Arc::new(Hall::default());
        let turn = hall.shake(1).unwrap();
        assert!(hall.shake(1).is_none() && hall.shake(1).is_none());
        drop(turn);
        assert!(hall.shake(1).is_some());
    }
}
