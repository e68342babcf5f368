//! A log is one host's. Whoever opens it as another, or is to leave its queue epoch, begins a new one in its place.

use super::super::books::{Books, Reason};
use super::super::files::Files;
use super::super::marks::{Given, Marks};
use super::segments::{Lane, segment_name};
use super::{Log, Recovered};
use crate::spool::CLASSES;
use std::io;
use vedette_protocol::ids::{HostId, QueueEpoch, Sequence};
use vedette_protocol::v1::Class;

/// How a spool begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Goes on with the queue epoch that is there.
    GoOn,
    /// In a new queue epoch: sequences of the one before were used twice.
    Anew,
}

/// Who opens a log, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The host that batches are sent as.
    pub host: HostId,
    /// How to begin.
    pub begin: Begin,
    /// The queue epoch to begin with if there is none to go on with.
    pub fresh: QueueEpoch,
}

impl<F: Files> Log<F> {
    /// Makes the log that of a host, and tells in `recovered` what became of it. If it was another host's, or is to begin
    /// anew, what waited is gone and counted, and sources stand where they stood.
    ///
    /// # Errors
    ///
    /// Of the file system; the next start tries again.
    pub fn claim(&mut self, recovered: &mut Recovered, claim: Claim) -> io::Result<()> {
        match self.marks.host.replace(claim.host) {
            Some(known) if known != claim.host => self.leave(recovered, claim.fresh),
            _ if claim.begin == Begin::Anew => self.leave(recovered, claim.fresh),
            Some(_) => Ok(()),
            None => self.mark(self.marks.books, Given::NOTHING, false),
        }
    }

    fn leave(&mut self, recovered: &mut Recovered, fresh: QueueEpoch) -> io::Result<()> {
        let of_class = |(class, lane): (Class, &Lane)| -> Vec<String> {
            lane.segments.iter().map(|segment| segment_name(self.epoch, class, segment.first)).collect()
        };
        let old: Vec<_> = CLASSES.into_iter().zip(&self.lanes).flat_map(of_class).collect();
        let books = recovered.pending.map(|waited| {
            let mut books = Books { unlogged: waited, ..Books::default() };
            books.shed[Reason::Left as usize] = waited;
            books
        });
        self.epoch = fresh;
        self.lanes = std::array::from_fn(|_| Lane::new(Sequence(0)));
        self.standings.values_mut().for_each(|(sequence, _)| *sequence = Sequence(0));
        (self.series_next, self.last, self.bytes) = (0, Sequence(0), 0);
        self.marks = Marks { epoch: fresh, given: Given::NOTHING, through: [Sequence(0); 3], ..self.marks };
        // Only the new one has the positions now, so it stands before the old one goes.
        self.begin_segment(Class::Log, Sequence(1))?;
        self.mark(books, Given::NOTHING, false)?;
        for name in old {
            // One that cannot be removed is a stranger to the next start.
            let _ = self.files.remove(&name);
        }
        *recovered = Recovered {
            epoch: fresh.0,
            next: 1,
            series_next: 0,
            positions: std::mem::take(&mut recovered.positions),
            pending: [0; 3],
            from: [Sequence(0); 3],
            made: recovered.pending,
            books,
            damage: recovered.damage,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, LogConfig, MARKS};
    use super::*;
    use crate::spool::files::simulated::Simulated;
    use vedette_protocol::ids::BootId;
    use vedette_protocol::v1::Cursor;

    fn open(disk: &Simulated, fresh: u64) -> (Log<Simulated>, Recovered) {
        let config = LogConfig { segment_bytes: 1_000, bytes_max: 20_000 };
        Log::open(disk.clone(), config, BootId([1; 16]), QueueEpoch(fresh)).expect("the disk works")
    }

    fn open_as(disk: &Simulated, host: u8, begin: Begin, fresh: u64) -> (Log<Simulated>, Recovered) {
        let (mut log, mut recovered) = open(disk, fresh);
        let claim = Claim { host: HostId([host; 16]), begin, fresh: QueueEpoch(fresh) };
        log.claim(&mut recovered, claim).expect("the disk works");
        (log, recovered)
    }

    /// Three batches, of which a finding is settled, and an end in good order.
    fn fill(log: &mut Log<Simulated>) {
        for (class, sequence) in [(Class::Finding, 1), (Class::Finding, 2), (Class::Log, 3)] {
            let cursors = vec![Cursor { source: "/log".to_owned(), position: vec![u8::try_from(sequence).unwrap()] }];
            let (sequence, frame) = (Sequence(sequence), vec![7; 100].into());
            log.append(&Entry { class, sequence, series_next: 9, cursors, frame }).expect("room");
        }
        log.settle(&[(Class::Finding, Sequence(1))]).expect("the disk works");
        log.mark([Books::default(); 3], Given::NOTHING, true).expect("the disk works");
    }

    fn left(recovered: &Recovered) -> [u64; 3] {
        recovered.books.map(|books| books.shed[Reason::Left as usize])
    }

    #[test]
    fn what_another_host_left_is_not_sent_as_ones_own_but_counted_and_sources_go_on() {
        for (host, begin) in [(2, Begin::GoOn), (1, Begin::Anew)] {
            let disk = Simulated::default();
            fill(&mut open_as(&disk, 1, Begin::GoOn, 7).0);
            let (_, same) = open_as(&disk, 1, Begin::GoOn, 8);
            assert_eq!((same.epoch, same.pending, left(&same)), (7, [1, 0, 1], [0; 3]));
            let (mut log, first) = open_as(&disk, host, begin, 8);
            assert_eq!((first.epoch, first.next, first.series_next, first.pending), (8, 1, 0, [0; 3]));
            assert_eq!((first.made, left(&first)), ([1, 0, 1], [1, 0, 1]));
            assert_eq!(log.load(Class::Finding, Sequence(0), 1_000).expect("the disk works").frames, []);
            let names = disk.list().unwrap().into_iter().map(|(name, _)| name).filter(|name| name != MARKS);
            assert_eq!(names.collect::<Vec<_>>(), [segment_name(QueueEpoch(8), Class::Log, Sequence(1))]);
            drop(log);
            let (_, again) = open_as(&disk, host, Begin::GoOn, 9);
            assert_eq!((again.epoch, again.made, left(&again)), (8, first.made, left(&first)));
            let standing = [("/log".to_owned(), vec![3])].into();
            assert_eq!((&first.positions, &again.positions), (&standing, &standing));
        }
    }

    #[test]
    fn crash_at_any_step_of_it_loses_no_position_and_no_count() {
        let filled = Simulated::default();
        fill(&mut open_as(&filled, 1, Begin::GoOn, 7).0);
        let mut crashes = 0;
        loop {
            let disk = filled.copy();
            disk.crash_at(crashes);
            let claim = Claim { host: HostId([2; 16]), begin: Begin::GoOn, fresh: QueueEpoch(8) };
            let config = LogConfig { segment_bytes: 1_000, bytes_max: 20_000 };
            let opened = Log::open(disk.clone(), config, BootId([1; 16]), claim.fresh);
            let claimed = opened.and_then(|(mut log, mut recovered)| log.claim(&mut recovered, claim));
            disk.restart();
            let (_, recovered) = open_as(&disk, 2, Begin::GoOn, 9);
            assert_eq!((recovered.pending, left(&recovered)), ([0; 3], [1, 0, 1]), "step {crashes}");
            assert_eq!(recovered.positions, [("/log".to_owned(), vec![3])].into(), "step {crashes}");
            if claimed.is_ok() && crashes > 10 {
                return;
            }
            crashes += 1;
        }
    }

    #[test]
    fn spool_of_an_agent_that_wrote_no_host_is_taken_over_as_it_is() {
        let disk = Simulated::default();
        fill(&mut open(&disk, 7).0);
        let (_, taken) = open_as(&disk, 1, Begin::GoOn, 8);
        assert_eq!((taken.epoch, taken.pending), (7, [1, 0, 1]));
        assert_eq!(open_as(&disk, 2, Begin::GoOn, 9).1.epoch, 9);
    }
}
