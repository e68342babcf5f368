//! The quiet host that most simulations start from.

use super::Host;
use crate::log::{LineTemplate, LogSource};
use crate::rng::Seed;
use crate::signal::{Bursts, Gaps, Noise, Shape, SignalSpec};
use std::time::Duration;
use vedette_edge::metric::{MetricKind, MetricSpec};

const fn gauge(name: &'static str, unit: &'static str, resolution: f64, upper: f64, doc: &'static str) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Gauge, resolution, lower: 0.0, upper, doc }
}

const fn counter(name: &'static str, unit: &'static str, doc: &'static str) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Counter, resolution: 1.0, lower: 0.0, upper: f64::NAN, doc }
}

static CPU: MetricSpec = gauge("system.cpu.utilization", "1", 0.005, 1.0, "Share of CPU time by mode.");
static LOAD: MetricSpec = gauge("system.linux.cpu.load_1m", "{thread}", 0.01, f64::NAN, "Load average, one minute.");
static MEMORY: MetricSpec = gauge("system.memory.utilization", "1", 1e-6, 1.0, "Share of memory by state.");
static PRESSURE: MetricSpec =
    gauge("system.linux.pressure.some", "1", 1e-6, 1.0, "Share of time in which a task waited.");
static DISK_IO: MetricSpec = counter("system.disk.io", "By", "Bytes read and written.");
static DISK_OPERATIONS: MetricSpec = counter("system.disk.operations", "{operation}", "Operations.");
static FILESYSTEM: MetricSpec = gauge("system.filesystem.utilization", "1", 1e-6, 1.0, "Share of space in use.");
static NETWORK_IO: MetricSpec = counter("system.network.io", "By", "Bytes sent and received.");
static NETWORK_PACKETS: MetricSpec = counter("system.network.packet.count", "{packet}", "Packets.");
static NETWORK_ERRORS: MetricSpec = counter("system.network.errors", "{error}", "Errors.");
static SOCKETS: MetricSpec =
    gauge("system.network.connection.count", "{connection}", 1.0, f64::NAN, "Sockets by state.");
static PROCESS_CPU: MetricSpec = gauge("process.cpu.utilization", "1", 0.01, f64::NAN, "Share of a core, by program.");
static PROCESS_MEMORY: MetricSpec = gauge("process.memory.usage", "By", 4_096.0, f64::NAN, "Resident memory.");

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// A two-core server behind a web service.
pub(super) fn host(seed: Seed) -> Host {
    let mut host = Host::new(seed);
    processor(&mut host);
    memory(&mut host);
    storage(&mut host);
    network(&mut host);
    processes(&mut host);
    host.add_log(
        LogSource::new("/var/log/web/access.log", "web", seed.rng("access.log"))
            .with(LineTemplate::always("{ip} GET /cart/{int} 200 in {ms} ms", 12.0))
            .with(LineTemplate::always("{ip} POST /order/{uuid} 201 in {ms} ms", 2.0))
            .with(LineTemplate::always("health check by {ip} passed", 0.2))
            .with(LineTemplate::always("session {hex} of {user} expired", 0.5)),
    );
    host
}

fn processor(host: &mut Host) {
    let wander = |level: f64| {
        SignalSpec::gauge(level, Noise::wander(level * 0.25, Duration::from_secs(30)))
            .shaped(Shape::daily(0.3, 15.0))
            .within(0.0, 1.0)
            .rounded_to(CPU.resolution)
    };
    for (mode, level) in [("user", 0.06), ("system", 0.03), ("iowait", 0.01), ("softirq", 0.005)] {
        host.add("cpu", &CPU, &[("cpu.mode", mode)], wander(level));
    }
    for cpu in ["0", "1"] {
        host.add("cpu", &CPU, &[("cpu.logical_number", cpu), ("cpu.mode", "user")], wander(0.06));
        host.add("cpu", &CPU, &[("cpu.logical_number", cpu), ("cpu.mode", "system")], wander(0.03));
    }
    let load = SignalSpec::gauge(0.4, Noise::wander(0.12, minutes(1))).shaped(Shape::daily(0.3, 15.0));
    host.add("load", &LOAD, &[], load.at_least(0.0).rounded_to(0.01));
    for resource in ["cpu", "io", "memory"] {
        let pressure = SignalSpec::gauge(0.004, Noise::heavy(0.002, 5)).within(0.0, 1.0).rounded_to(1e-6);
        host.add("pressure", &PRESSURE, &[("resource", resource)], pressure);
    }
}

fn memory(host: &mut Host) {
    for (state, level) in [("used", 0.42), ("cached", 0.35), ("free", 0.2), ("buffers", 0.02)] {
        let signal = SignalSpec::gauge(level, Noise::wander(0.004, minutes(10))).within(0.0, 1.0).rounded_to(1e-6);
        host.add("memory", &MEMORY, &[("system.memory.state", state)], signal);
    }
}

fn storage(host: &mut Host) {
    for device in ["sda", "sdb"] {
        for (direction, rate) in [("read", 40_000.0), ("write", 220_000.0)] {
            let attributes = [("disk.io.direction", direction), ("system.device", device)];
            let bytes = SignalSpec::counter(rate, Noise::wander(rate * 0.3, Duration::from_secs(15)))
                .shaped(Shape::daily(0.4, 15.0))
                .bursting(Bursts { every_mean: minutes(4), length_mean: Duration::from_secs(4), height: rate * 2.0 });
            host.add("disk", &DISK_IO, &attributes, bytes);
            let operations = SignalSpec::counter(rate / 8_192.0, Noise::gaussian(rate / 40_000.0));
            host.add("disk", &DISK_OPERATIONS, &attributes, operations);
        }
    }
    for (mount, level) in [("/", 0.35), ("/var", 0.55), ("/boot", 0.21)] {
        let signal = SignalSpec::gauge(level, Noise::wander(2e-4, minutes(30))).within(0.0, 1.0).rounded_to(1e-6);
        host.add("filesystem", &FILESYSTEM, &[("system.filesystem.mountpoint", mount)], signal);
    }
}

fn network(host: &mut Host) {
    for (interface, scale) in [("eth0", 1.0), ("lo", 0.2)] {
        for (direction, rate) in [("receive", 60_000.0), ("transmit", 180_000.0)] {
            let attributes = [("network.interface.name", interface), ("network.io.direction", direction)];
            let rate = rate * scale;
            let bytes = SignalSpec::counter(rate, Noise::wander(rate * 0.2, Duration::from_secs(20)))
                .shaped(Shape::daily(0.5, 15.0))
                .shaped(Shape::weekend(0.6));
            host.add("network", &NETWORK_IO, &attributes, bytes);
            let packets = SignalSpec::counter(rate / 700.0, Noise::gaussian(rate / 7_000.0)).wrapping_at(1 << 32);
            host.add("network", &NETWORK_PACKETS, &attributes, packets);
            host.add("network", &NETWORK_ERRORS, &attributes, SignalSpec::counter(0.0, Noise::None));
        }
    }
    for (state, level) in [("established", 120.0), ("time_wait", 40.0), ("listen", 14.0)] {
        let noise = if state == "listen" { Noise::None } else { Noise::wander(level * 0.1, minutes(2)) };
        let signal = SignalSpec::gauge(level, noise).at_least(0.0).rounded_to(1.0);
        host.add("sockets", &SOCKETS, &[("network.connection.state", state)], signal);
    }
}

fn processes(host: &mut Host) {
    let mebibytes = |count: f64| count * 1_048_576.0;
    for (program, share, resident) in [("nginx", 0.04, 60.0), ("postgres", 0.03, 400.0), ("app", 0.05, 250.0)] {
        let attributes = [("process.executable.name", program)];
        let gaps = Gaps { every_mean: minutes(60), length_mean: Duration::from_secs(20) };
        let processor = SignalSpec::gauge(share, Noise::wander(share * 0.3, Duration::from_secs(30)));
        host.add("process", &PROCESS_CPU, &attributes, processor.at_least(0.0).rounded_to(0.01).gapped(gaps));
        let memory = SignalSpec::gauge(mebibytes(resident), Noise::wander(mebibytes(resident * 0.01), minutes(10)));
        host.add("process", &PROCESS_MEMORY, &attributes, memory.at_least(0.0).rounded_to(4_096.0).gapped(gaps));
    }
    host.set_interval("process", 10_000);
}
