//! Lines as a busy server's syslog has them, the same for the same seed: logins, requests, timers, queries, devices, and now
//! and then a secret.

use std::io::Write;

const HOSTS: [&str; 4] = ["edge-0421", "edge-0422", "gw-17", "db-03"];
const USERS: [&str; 6] = ["admin", "oracle", "test", "pi", "ubuntu", "deploy"];
const STATES: [u64; 7] = [200, 200, 200, 200, 304, 404, 500];

/// Different lines, and the order in which they come next.
pub(crate) struct Lines {
    random: Random,
    lines: Vec<Vec<u8>>,
}

impl Lines {
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let mut random = Random(seed);
        let mut ms = 0;
        let lines = (0..count).map(|_| {
            ms += random.below(20);
            line(&mut random, ms)
        });
        let lines = lines.collect();
        Self { random, lines }
    }

    /// Appends all of them in a new order. Returns how many.
    pub(crate) fn shuffled_into(&mut self, text: &mut Vec<u8>) -> u64 {
        for at in (1..self.lines.len()).rev() {
            let other = self.random.below(at as u64 + 1);
            self.lines.swap(at, usize::try_from(other).expect("below a length"));
        }
        self.lines.iter().for_each(|line| text.extend_from_slice(line));
        self.lines.len() as u64
    }
}

fn line(random: &mut Random, ms: u64) -> Vec<u8> {
    let (minute, second) = (ms / 60_000 % 60, ms / 1_000 % 60);
    let mut line = format!("Nov 20 08:{minute:02}:{second:02} {} ", random.pick(&HOSTS)).into_bytes();
    let pid = 900 + random.below(64_000);
    let address = format!("10.{}.{}.{}", random.below(256), random.below(256), 1 + random.below(254));
    let (number, small) = (random.below(100_000), random.below(1_000));
    let written = match random.below(52) {
        0..6 => write!(
            line,
            "sshd[{pid}]: Failed password for invalid user {} from {address} port {number} ssh2: attempt {small} of this session",
            random.pick(&USERS)
        ),
        6..11 => write!(
            line,
            "sshd[{pid}]: Accepted publickey for deploy from {address} port {number} ssh2: ED25519 SHA256:{:016x}{:016x}",
            random.next(),
            random.next()
        ),
        11..16 => write!(
            line,
            "kernel: [{number}.{small:06}] TCP: request_sock_TCP: Possible SYN flooding on port {number}. Sending cookies. Check SNMP counters."
        ),
        16..20 => write!(
            line,
            "systemd[1]: Started session-{number}.scope - Session {number} of User {}, slice user-{small}.slice, with all of its units.",
            random.pick(&USERS)
        ),
        20..29 => write!(
            line,
            "nginx[{pid}]: {address} - - \"GET /api/v2/devices/{number}/status?full={} HTTP/1.1\" {} {} 0.{small:03} upstream 0.{small:03}",
            random.below(2),
            STATES[usize::try_from(random.below(7)).expect("below seven")],
            random.below(90_000)
        ),
        29..32 => write!(line, "CRON[{pid}]: (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"),
        32..39 => write!(
            line,
            "mqttd[{pid}]: client sensor-{number} published topic plant/{}/line/{}/temp qos=1 bytes={small} latency_ms={}.{:02}",
            random.below(9),
            random.below(30),
            random.below(50),
            random.below(100)
        ),
        39..45 => write!(
            line,
            "postgres[{pid}]: LOG:  duration: {small}.{:03} ms  statement: SELECT id, state FROM jobs WHERE queue = 'q{}' LIMIT {}",
            random.below(1_000),
            random.below(40),
            random.below(100)
        ),
        45..51 => write!(
            line,
            "kubelet[{pid}]: I1120 08:{minute:02}:{second:02}.{number:06} pod_workers.go:{small}] sync pod worker-{:010x} container=main restart={}",
            random.next() >> 24,
            random.below(10)
        ),
        _ => write!(
            line,
            "billing[{pid}]: retry {} for user{number}@example.com with token={:016x} and password=\"s3cr3t-{small}\" from {address}",
            random.below(9),
            random.next()
        ),
    };
    written.expect("memory takes it");
    line.push(b'\n');
    line
}

/// Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.below(from.len() as u64);
        from[usize::try_from(at).expect("below a length")]
    }
}
