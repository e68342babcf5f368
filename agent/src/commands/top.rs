//! `top`: the running agent live, asked over the local interface.

mod model;
mod view;

use super::socket::Socket;
use super::{Failure, print};
use crate::args::TopArguments;
use crate::local::Question;
use model::{Model, Snapshot, Step};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::widgets::Paragraph;
use ratatui::{DefaultTerminal, Frame};
use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What a picture has where nobody says how large the terminal is.
const COLUMNS: u16 = 80;
const LINES: u16 = 24;
/// A key waits no longer than this, and neither does an answer that has come.
const GLANCE: Duration = Duration::from_millis(100);

pub(super) fn run(arguments: &TopArguments) -> Result<(), Failure> {
    let socket = Socket::find(&arguments.agent)?;
    let mut model = Model::new(arguments.filter.clone().unwrap_or_default());
    if arguments.once {
        model.take(Ok(ask(&socket)?));
        let size = ratatui::crossterm::terminal::size().ok().filter(|_| io::stdout().is_terminal());
        let (columns, lines) = size.unwrap_or((COLUMNS, LINES));
        let columns = arguments.width.unwrap_or(columns);
        return print(&view::text(&model, columns, lines));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("`top` needs a terminal; `vedette-agent top --once` prints one picture"));
    }
    let answers = keep_asking(socket, arguments.interval);
    let mut terminal = ratatui::try_init().map_err(|error| Failure::io("terminal", &error))?;
    let ended = show(&mut terminal, &mut model, &answers);
    // A terminal that cannot be restored is gone.
    let _ = ratatui::try_restore();
    ended.map_err(|error| Failure::io("terminal", &error))
}

/// Asks in a thread of its own, so that keys are answered while the agent is not. The thread ends with the process.
fn keep_asking(socket: Socket, interval: Duration) -> mpsc::Receiver<Result<Snapshot, String>> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        while tell.send(ask(&socket).map_err(|failure| failure.text)).is_ok() {
            thread::sleep(interval);
        }
    });
    told
}

fn ask(socket: &Socket) -> Result<Snapshot, Failure> {
    Ok(Snapshot {
        at: Instant::now(),
        status: socket.read(&socket.ask(Question::Status)?)?,
        bill: socket.read(&socket.ask(Question::Cost)?)?,
        oddest: socket.read(&socket.ask(Question::Oddest)?)?,
    })
}

/// Until somebody has seen enough.
fn show(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    answers: &mpsc::Receiver<Result<Snapshot, String>>,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| draw(frame, model))?;
        if event::poll(GLANCE)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
            && model.handle_key(key.code, key.modifiers) == Step::Quit
        {
            return Ok(());
        }
        while let Ok(answer) = answers.try_recv() {
            model.take(answer);
        }
    }
}

fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    frame.render_widget(Paragraph::new(view::screen(model, area.width, area.height)), area);
}

#[cfg(test)]
mod tests;
