//! Any order of writing, rotating, vacuuming, polling, restarts and crashes: every entry once, or counted as missed.

use super::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Step {
    /// Entries of a service, to the file of the system or of a user.
    Write {
        count: u8,
        service: u8,
        user: bool,
    },
    Poll,
    /// What is full is archived under another name.
    Rotate {
        user: bool,
    },
    /// The oldest archived file goes.
    Vacuum,
    /// The whole and every service are settled as far as they were handed over.
    Settle,
    /// As `Settle`, but for the whole: a crash in between must repeat nothing.
    SettleServices,
    /// Goes on from what is settled.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..6_u8, 0..4_u8, any::<bool>()).prop_map(|(count, service, user)| Step::Write { count, service, user }),
        4 => Just(Step::Poll),
        2 => any::<bool>().prop_map(|user| Step::Rotate { user }),
        1 => Just(Step::Vacuum),
        2 => Just(Step::Settle),
        2 => Just(Step::SettleServices),
        1 => Just(Step::Restart),
    ]
}

struct World {
    host: Host,
    writers: [(&'static str, Writer); 2],
    archived: Vec<PathBuf>,
    rotations: u32,
    written: BTreeSet<u64>,
    journal: Journal,
    settled: BTreeMap<String, Vec<u8>>,
    /// Lines handed over and not settled, with the position of the whole after them.
    open: Vec<(String, u64)>,
    counted: Vec<u64>,
    missed: u64,
}

impl World {
    fn new() -> Self {
        let host = Host::new();
        let mut system = Writer::new(1);
        system.push(&["MESSAGE=0", "_SYSTEMD_UNIT=boot.service"]);
        system.store(&host.path("var", "system.journal"));
        let user = system.rotated();
        let journal = host.open(&BTreeMap::new());
        let writers = [("system", system), ("user-1000", user)];
        let written = BTreeSet::from([0]);
        let mut world = Self {
            host,
            writers,
            archived: Vec::new(),
            rotations: 0,
            written,
            journal,
            settled: BTreeMap::new(),
            open: Vec::new(),
            counted: Vec::new(),
            missed: 0,
        };
        world.poll();
        world.settle(true);
        world
    }

    fn write(&mut self, count: u8, service: u8, user: usize) {
        for _ in 0..count {
            let other = self.writers[1 - user].1.clone();
            let (name, writer) = &mut self.writers[user];
            if other.seqnum() > writer.seqnum() {
                writer.follow(&other);
            }
            let n = self.written.len() as u64;
            writer.push(&[&format!("MESSAGE={n}"), &format!("_SYSTEMD_UNIT=app{service}.service")]);
            writer.store(&self.host.path("var", &format!("{name}.journal")));
            self.written.insert(n);
        }
    }

    fn rotate(&mut self, user: usize) {
        let (name, writer) = &mut self.writers[user];
        let path = self.host.path("var", &format!("{name}.journal"));
        if !path.exists() {
            return;
        }
        writer.archive();
        writer.store(&path);
        self.rotations += 1;
        let archived = self.host.path("var", &format!("{name}@{}.journal", self.rotations));
        fs::rename(&path, &archived).unwrap();
        *writer = writer.rotated();
        self.archived.push(archived);
    }

    fn vacuum(&mut self) {
        if !self.archived.is_empty() {
            fs::remove_file(self.archived.remove(0)).unwrap();
        }
    }

    fn poll(&mut self) {
        let found = lines(&mut self.journal);
        self.open.extend(found.into_iter().map(|(source, text)| (source, text.parse().unwrap())));
    }

    /// What is settled was counted by the collector.
    fn settle(&mut self, whole: bool) {
        let Some(position) = self.journal.position() else { return };
        for (source, n) in self.open.drain(..) {
            self.counted.push(n);
            self.settled.insert(source, position.clone());
        }
        if whole {
            self.settled.insert(SOURCE.to_owned(), position);
        }
    }

    fn restart(&mut self) {
        self.missed += self.journal.counts().entries_missed;
        self.open.clear();
        self.journal = self.host.open(&self.settled);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_entry_is_counted_once_or_missed_with_a_count(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        let mut vacuumed = false;
        for step in steps {
            match step {
                Step::Write { count, service, user } => world.write(count, service, usize::from(user)),
                Step::Poll => world.poll(),
                Step::Rotate { user } => world.rotate(usize::from(user)),
                Step::Vacuum => { world.vacuum(); vacuumed = true }
                Step::Settle => world.settle(true),
                Step::SettleServices => world.settle(false),
                Step::Restart => world.restart(),
            }
        }
        // What is missed shows when a later number is read.
        world.write(1, 0, 0);
        world.poll();
        world.settle(true);
        let counted: BTreeSet<u64> = world.counted.iter().copied().collect();
        prop_assert_eq!(counted.len(), world.counted.len(), "nothing twice: {:?}", world.counted);
        let missing = world.written.difference(&counted).count() as u64;
        prop_assert!(vacuumed || missing == 0, "missing: {:?}", world.written.difference(&counted));
        // A gap that was seen before a crash is seen again after it.
        prop_assert!(world.missed + world.journal.counts().entries_missed >= missing);
    }
}
