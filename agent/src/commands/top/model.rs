//! What `top` shows and how: the last answers, the order, the filter.

use crate::cost::Bill;
use crate::status::Status;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use std::time::Instant;
use vedette_edge::glob;
use vedette_edge::pipeline::OddSeries;

/// Characters of a filter.
const FILTER_MAX: usize = 64;

/// What the agent has said at one time.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) bill: Bill,
    pub(super) oddest: Vec<OddSeries>,
}

/// By what rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Series by oddness, sources and detectors by CPU.
    Weight,
    /// Series by surprise, sources by interval, detectors by state.
    Other,
    /// By name.
    Name,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weight => "oddness, CPU",
            Self::Other => "surprise, interval, state",
            Self::Name => "name",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Weight => Self::Other,
            Self::Other => Self::Name,
            Self::Name => Self::Weight,
        }
    }
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Quit,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: Option<Snapshot>,
    pub(super) before: Option<Snapshot>,
    /// Why the agent did not answer last.
    pub(super) lost: Option<String>,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    /// Series that are left out above.
    pub(super) scrolled: usize,
}

impl Model {
    pub(super) fn new(filter: String) -> Self {
        Self {
            now: None,
            before: None,
            lost: None,
            order: Order::Weight,
            filter,
            is_typing: false,
            is_paused: false,
            shows_help: false,
            scrolled: 0,
        }
    }

    /// The agent has answered, or not.
    pub(super) fn take(&mut self, answer: Result<Snapshot, String>) {
        match answer {
            Ok(_) if self.is_paused => self.lost = None,
            Ok(snapshot) => {
                self.lost = None;
                // Another agent has spent other things.
                let same = |now: &Snapshot| {
                    now.status.agent.pid == snapshot.status.agent.pid && now.bill.uptime_ms <= snapshot.bill.uptime_ms
                };
                self.before = self.now.take().filter(same);
                self.now = Some(snapshot);
            }
            Err(why) => self.lost = Some(why),
        }
    }

    /// A key was pressed.
    pub(super) fn handle_key(&mut self, key: KeyCode, with: KeyModifiers) -> Step {
        if with.contains(KeyModifiers::CONTROL) {
            return if key == KeyCode::Char('c') { Step::Quit } else { Step::Stay };
        }
        if self.is_typing {
            self.handle_typing(key);
            return Step::Stay;
        }
        match key {
            KeyCode::Esc if self.shows_help => self.shows_help = false,
            KeyCode::Char('q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('?' | 'h') => self.shows_help = !self.shows_help,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Down | KeyCode::Char('j') => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            _ => {}
        }
        let most = self.now.as_ref().map_or(0, |now| now.oddest.len().saturating_sub(1));
        self.scrolled = self.scrolled.min(most);
        Step::Stay
    }

    fn handle_typing(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(one) if !one.is_control() && self.filter.chars().count() < FILTER_MAX => {
                self.filter.push(one)
            }
            _ => {}
        }
        self.scrolled = 0;
    }

    /// Whether a name is to be seen. A filter without `*` is looked for anywhere.
    pub(super) fn shows(&self, name: &str) -> bool {
        match self.filter.as_str() {
            "" => true,
            filter if filter.contains('*') => glob::matches(filter, name),
            part => name.contains(part),
        }
    }
}
