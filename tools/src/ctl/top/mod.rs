//! `myriadctl top`: the broker at a glance, again and again. `sample` asks and counts, `view` draws; this file owns the terminal and
//! the keys.

mod sample;
mod view;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::api::Api;
use crate::print::{Console, say};
use sample::{Rates, Sample};
use view::{History, View};

/// Of `myriadctl top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = interval)]
    interval: f64,
    /// Print one frame as text and end, for scripts.
    #[arg(long)]
    once: bool,
}

/// Size of a frame that goes to no terminal.
const FRAME: (u16, u16) = (100, 40);

fn interval(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|s| (0.2..=60.0).contains(s))
        .ok_or_else(|| "expected seconds from 0.2 to 60".into())
}

/// Runs until `q`, or prints one frame.
pub(crate) fn run(arguments: &Arguments, console: &Console<'_>) -> Result<ExitCode> {
    let api = console.api()?;
    let pause = Duration::from_secs_f64(arguments.interval);
    let mut last = Sample::take(&api)?;
    if console.json || arguments.once {
        std::thread::sleep(pause);
        let now = Sample::take(&api)?;
        let rates = Rates::between(&last, &now);
        if console.json {
            return console.done(&now.json(&rates), "");
        }
        let mut history = History::default();
        history.add(&rates);
        let (width, height) = crate::print::room()
            .map_or(FRAME, |columns| (u16::try_from(columns).unwrap_or(FRAME.0), FRAME.1));
        say(frame(
            &View { sample: &now, rates: &rates, history: &history, problem: None, hint: "" },
            width,
            height,
        )?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminal = ratatui::try_init()?;
    let outcome = watch(&mut terminal, &api, &mut last, pause);
    ratatui::try_restore()?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// A frame as lines of text, without blanks at their ends.
fn frame(view: &View<'_>, width: u16, height: u16) -> Result<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height))?;
    let drawn = terminal.draw(|frame| view.draw(frame))?;
    let mut lines: Vec<String> = Vec::new();
    for row in drawn.buffer.content().chunks(usize::from(width).max(1)) {
        lines.push(row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned());
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    Ok(lines.join("\n"))
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    api: &Api,
    last: &mut Sample,
    pause: Duration,
) -> Result<()> {
    let mut rates = Rates::between(last, last);
    let (mut history, mut problem, mut is_paused) = (History::default(), None, false);
    let mut next = Instant::now() + pause;
    loop {
        let hint = if is_paused { "  paused; p goes on" } else { "  q quits, p pauses" };
        let view = View { sample: last, rates: &rates, history: &history, problem: problem.as_deref(), hint };
        terminal.draw(|frame| view.draw(frame))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if is_end(key) => return Ok(()),
                Event::Key(KeyEvent {
                    code: KeyCode::Char('p' | ' '), kind: KeyEventKind::Press, ..
                }) => {
                    is_paused = !is_paused;
                }
                _ => {}
            }
        }
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + pause;
        if is_paused {
            continue;
        }
        // A broker that restarts is waited for: the last figures stay, with what is wrong.
        match Sample::take(api) {
            Ok(now) => {
                rates = Rates::between(last, &now);
                history.add(&rates);
                (*last, problem) = (now, None);
            }
            Err(error) => problem = Some(format!("{error:#}")),
        }
    }
}

fn is_end(key: KeyEvent) -> bool {
    let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    key.kind == KeyEventKind::Press && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}
