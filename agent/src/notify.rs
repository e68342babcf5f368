//! Tells the service supervisor what goes on (`sd_notify`): one datagram to the socket named by `NOTIFY_SOCKET`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the supervisor; does nothing when there is none.
#[derive(Debug, Default)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// The supervisor restarts us after this long without [`Notify::alive`].
    pub watchdog: Option<Duration>,
}

impl Notify {
    /// From `NOTIFY_SOCKET` and `WATCHDOG_USEC`. A supervisor that cannot be reached is none.
    pub fn from_env() -> Self {
        let to = env::var_os("NOTIFY_SOCKET").and_then(|path| connect(&path).ok());
        let watchdog_us = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Self { watchdog: watchdog_us.filter(|_| to.is_some()).map(Duration::from_micros), to }
    }

    /// Ready to serve; `status` is for people.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// A line for people, as of now.
    pub fn state(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// The configuration is about to be read anew; [`Notify::ready`] ends that.
    pub fn reloading(&self) {
        // The supervisor compares with its own clock, which stands still while the host is suspended.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    /// Still making progress.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// On the way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.to {
            // A full or vanished supervisor must not stop the agent; it will act on our silence.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

fn connect(path: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = listener.recv(&mut buffer).expect("a datagram waits");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn supervisor_hears_ready_and_progress() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("bind");
        listener.set_nonblocking(true).expect("non-blocking");
        let notify = Notify { to: Some(connect(path.as_os_str()).expect("connect")), watchdog: None };
        notify.ready("sampling");
        notify.state("3 series");
        notify.reloading();
        notify.alive();
        notify.stopping();
        assert_eq!(received(&listener), "READY=1\nSTATUS=sampling");
        assert_eq!(received(&listener), "STATUS=3 series");
        let reloading = received(&listener);
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("as sd_notify(3) has it");
        assert!(since.parse::<u64>().is_ok_and(|us| us > 0), "{since}");
        assert_eq!(received(&listener), "WATCHDOG=1");
        assert_eq!(received(&listener), "STOPPING=1");
    }

    #[test]
    fn supervisor_in_the_abstract_namespace_hears_too() {
        let name = format!("vedette-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let listener = UnixDatagram::bind_addr(&address).expect("bind");
        let to = connect(OsStr::new(&format!("@{name}"))).expect("connect");
        Notify { to: Some(to), watchdog: None }.alive();
        assert_eq!(received(&listener), "WATCHDOG=1");
    }

    #[test]
    fn vanished_supervisor_stops_nobody() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("nobody");
        let notify = Notify { to: Some(connect(path.as_os_str()).expect("an address")), watchdog: None };
        notify.alive();
    }
}
