//! A full-screen view on the terminal: draws frames, reads keys, and restores the terminal when it is dropped. It must not
//! know what is shown.

use std::io::{Stdout, Write, stdout};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui_core::terminal::{Frame, Terminal};
use ratatui_crossterm::CrosstermBackend;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long the thread that reads keys waits before it looks whether the view is closed.
const KEY_WAIT: Duration = Duration::from_millis(200);

/// A key that a view understands, or another size of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewInput {
    Character(char),
    Up,
    Down,
    Escape,
    /// Ctrl-C.
    Interrupt,
    Resized,
}

/// The terminal while a view is open.
pub(crate) struct FullScreen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    inputs: UnboundedReceiver<ViewInput>,
}

impl FullScreen {
    /// Opens the alternate screen.
    ///
    /// # Errors
    /// The terminal cannot be controlled.
    pub(crate) fn open() -> std::io::Result<Self> {
        enable_raw_mode()?;
        let opened = execute!(stdout(), EnterAlternateScreen, cursor::Hide);
        let terminal = opened.and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        // From here on, dropping the view restores the terminal.
        let terminal = terminal.inspect_err(|_| restore())?;
        let (sender, inputs) = unbounded_channel();
        std::thread::Builder::new().name("keys".into()).spawn(move || {
            while !sender.is_closed() {
                let read = event::poll(KEY_WAIT).and_then(|is_ready| is_ready.then(event::read).transpose());
                match read {
                    Ok(Some(event)) => {
                        if let Some(input) = view_input(&event) {
                            // A closed view ends the loop.
                            let _ = sender.send(input);
                        }
                    }
                    Ok(None) => {}
                    Err(_) => return,
                }
            }
        })?;
        Ok(Self { terminal, inputs })
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> std::io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Waits for the next input; `None` if the terminal was closed.
    pub(crate) async fn next_input(&mut self) -> Option<ViewInput> {
        self.inputs.recv().await
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal. An error means that it was closed.
fn restore() {
    let _ = execute!(stdout(), LeaveAlternateScreen, cursor::Show);
    let _ = stdout().flush();
    let _ = disable_raw_mode();
}

fn view_input(event: &Event) -> Option<ViewInput> {
    match event {
        Event::Resize(..) => Some(ViewInput::Resized),
        Event::Key(KeyEvent { code, modifiers, kind, .. }) if *kind != KeyEventKind::Release => {
            let has_control = modifiers.contains(KeyModifiers::CONTROL);
            match code {
                KeyCode::Char('c') if has_control => Some(ViewInput::Interrupt),
                KeyCode::Char(letter) if !has_control => Some(ViewInput::Character(*letter)),
                KeyCode::Up => Some(ViewInput::Up),
                KeyCode::Down => Some(ViewInput::Down),
                KeyCode::Esc => Some(ViewInput::Escape),
                _ => None,
            }
        }
        _ => None,
    }
}
