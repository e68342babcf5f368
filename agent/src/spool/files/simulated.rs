//! A folder in memory that can crash at every step, tears the write at which it does, and after a power cut has lost,
//! in part and out of order, what was not synced.

use super::Files;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

/// A handle; clones see the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Simulated(Rc<RefCell<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<String, Content>,
    /// Names as of the last sync of the folder.
    durable: BTreeMap<String, Content>,
    steps: u64,
    /// Dies before this step has its whole effect.
    crash_at: Option<u64>,
    crashed: bool,
    failing: Option<io::ErrorKind>,
    failing_reads: Option<(String, io::ErrorKind)>,
    failing_syncs: bool,
    bytes_max: Option<usize>,
}

type Content = Rc<RefCell<Bytes>>;

#[derive(Debug, Default)]
struct Bytes {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// A sync has failed: like the kernel's, the next one has nothing to do unless it is all written again.
    is_taken_for_clean: bool,
}

impl Simulated {
    /// Dies at the given step from now on.
    pub(crate) fn crash_at(&self, step: u64) {
        self.0.borrow_mut().crash_at = Some(step);
    }

    /// Steps that changed something, so far.
    pub(crate) fn steps(&self) -> u64 {
        self.0.borrow().steps
    }

    /// Everything that changes something fails from now on, or works again.
    pub(crate) fn fail(&self, how: Option<io::ErrorKind>) {
        self.0.borrow_mut().failing = how;
    }

    /// Reading files whose names begin so fails from now on, or works again.
    pub(crate) fn fail_reads(&self, which: Option<(&str, io::ErrorKind)>) {
        self.0.borrow_mut().failing_reads = which.map(|(prefix, kind)| (prefix.to_owned(), kind));
    }

    /// Syncing a file fails from now on, or works again.
    pub(crate) fn fail_syncs(&self, is_failing: bool) {
        self.0.borrow_mut().failing_syncs = is_failing;
    }

    /// No room for more than this.
    pub(crate) fn limit(&self, bytes_max: Option<usize>) {
        self.0.borrow_mut().bytes_max = bytes_max;
    }

    /// The process was killed: what it had written is there.
    pub(crate) fn restart(&self) {
        let mut disk = self.0.borrow_mut();
        (disk.crashed, disk.crash_at) = (false, None);
    }

    /// The power was cut. `random` says what of the rest got through.
    pub(crate) fn power_cut(&self, mut random: impl FnMut(usize) -> usize) {
        let mut disk = self.0.borrow_mut();
        let mut kept = BTreeMap::new();
        let (now, durable) = (std::mem::take(&mut disk.files), std::mem::take(&mut disk.durable));
        for (name, content) in now.iter().chain(&durable) {
            // A name that was given or taken away since the last sync is there or not.
            let is_settled = now.contains_key(name) && durable.contains_key(name);
            if is_settled || random(2) == 0 {
                kept.insert(name.clone(), Rc::clone(content));
            }
        }
        for content in kept.values() {
            content.borrow_mut().lose_power(&mut random);
        }
        disk.files.clone_from(&kept);
        disk.durable = kept;
        (disk.crashed, disk.crash_at) = (false, None);
    }

    /// Exact bytes, to damage them.
    pub(crate) fn alter(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let disk = self.0.borrow();
        let mut bytes = disk.files[name].borrow_mut();
        change(&mut bytes.now);
        bytes.synced = bytes.now.clone();
    }

    /// Another disk with the same files.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::default();
        for (name, content) in &self.0.borrow().files {
            let now = content.borrow().now.clone();
            let content = Rc::new(RefCell::new(Bytes { synced: now.clone(), now, is_taken_for_clean: false }));
            copy.0.borrow_mut().files.insert(name.clone(), content);
        }
        copy
    }

    /// Takes a step: the share of it that happens, in thousandths, before everything ends.
    fn step(&self) -> io::Result<Option<usize>> {
        let mut disk = self.0.borrow_mut();
        if disk.crashed {
            return Err(io::Error::other("crashed"));
        }
        if let Some(kind) = disk.failing {
            return Err(kind.into());
        }
        disk.steps += 1;
        if disk.crash_at == Some(disk.steps) {
            disk.crashed = true;
            return Ok(Some(usize::try_from(disk.steps * 7_919 % 1_001).unwrap_or(0)));
        }
        Ok(None)
    }

    fn content(&self, name: &str) -> io::Result<Content> {
        let disk = self.0.borrow();
        if disk.crashed {
            return Err(io::Error::other("crashed"));
        }
        disk.files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A step that happens wholly or, if everything ends there, not at all.
    fn whole_step(&self) -> io::Result<()> {
        self.step()?.map_or(Ok(()), |_| Err(io::Error::other("crashed")))
    }
}

impl Bytes {
    /// Blocks that were written since the last sync got through or did not, each for itself.
    fn lose_power(&mut self, random: &mut impl FnMut(usize) -> usize) {
        const BLOCK: usize = 64;
        let length = match self.now.len().checked_sub(self.synced.len()) {
            Some(more) => self.synced.len() + random(more + 1),
            None => [self.now.len(), self.synced.len()][random(2)],
        };
        let mut left = vec![0; length];
        for (nth, block) in left.chunks_mut(BLOCK).enumerate() {
            let from = nth * BLOCK;
            let source = if random(2) == 0 { &self.now } else { &self.synced };
            let end = source.len().min(from + block.len());
            if let Some(bytes) = source.get(from..end) {
                block[..bytes.len()].copy_from_slice(bytes);
            }
        }
        self.now.clone_from(&left);
        self.synced = left;
    }
}

impl Files for Simulated {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let disk = self.0.borrow();
        Ok(disk.files.iter().map(|(name, content)| (name.clone(), content.borrow().now.len() as u64)).collect())
    }

    fn read(&self, name: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        if let Some((prefix, kind)) = &self.0.borrow().failing_reads
            && name.starts_with(prefix)
        {
            return Err((*kind).into());
        }
        let content = self.content(name)?;
        let bytes = &content.borrow().now;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        Ok(bytes[from..bytes.len().min(from.saturating_add(bytes_max))].to_vec())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.whole_step()?;
        let mut disk = self.0.borrow_mut();
        if disk.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.files.insert(name.to_owned(), Content::default());
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let content = self.content(name)?;
        let torn = self.step()?;
        let offset = usize::try_from(offset).unwrap();
        let disk = self.0.borrow();
        let used: usize = disk.files.values().map(|content| content.borrow().now.len()).sum();
        let more = (offset + bytes.len()).saturating_sub(content.borrow().now.len());
        let room = disk.bytes_max.map_or(usize::MAX, |most| most.saturating_sub(used));
        let fits = bytes.len() - more.saturating_sub(room);
        let written = torn.map_or(fits, |share| (bytes.len() * share / 1_000).min(fits));
        let content = &mut *content.borrow_mut();
        content.is_taken_for_clean &= offset > 0;
        let now = &mut content.now;
        let end = now.len().max(offset + written);
        now.resize(end, 0);
        now[offset..offset + written].copy_from_slice(&bytes[..written]);
        match (torn, fits == bytes.len()) {
            (Some(_), _) => Err(io::Error::other("crashed")),
            (None, false) => Err(io::ErrorKind::StorageFull.into()),
            (None, true) => Ok(()),
        }
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let content = self.content(name)?;
        self.whole_step()?;
        content.borrow_mut().now.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let content = self.content(name)?;
        self.whole_step()?;
        let bytes = &mut *content.borrow_mut();
        if self.0.borrow().failing_syncs {
            bytes.is_taken_for_clean = true;
            return Err(io::Error::other("not synced"));
        }
        if bytes.is_taken_for_clean {
            return Ok(());
        }
        bytes.synced.clone_from(&bytes.now);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.whole_step()?;
        let disk = &mut *self.0.borrow_mut();
        disk.durable.clone_from(&disk.files);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.content(name)?;
        self.whole_step()?;
        self.0.borrow_mut().files.remove(name);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let content = self.content(from)?;
        self.whole_step()?;
        let mut disk = self.0.borrow_mut();
        disk.files.remove(from);
        disk.files.insert(to.to_owned(), content);
        Ok(())
    }
}
