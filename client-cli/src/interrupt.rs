//! Ctrl-C: once during a run, it ends the run and keeps what was learned; otherwise it ends the program.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use client_wasm::job::Command;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

/// The exit code that shells expect of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Who is told of the next Ctrl-C; nobody: the program ends.
type Listener = Arc<Mutex<Option<UnboundedSender<Command>>>>;

/// Watches Ctrl-C from a thread of its own: the client's thread may be busy with a matrix.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    listener: Listener,
}

impl Interrupt {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let listener = Listener::default();
        let watched = Arc::clone(&listener);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                    interrupted(&watched);
                }
            })?;
        Ok(Self { listener })
    }

    /// Lets the next Ctrl-C end the run instead of the program.
    pub(crate) fn listen(&self) -> UnboundedReceiver<Command> {
        let (sender, receiver) = unbounded();
        *lock(&self.listener) = Some(sender);
        receiver
    }

    /// Lets the next Ctrl-C end the program.
    pub(crate) fn stop_listening(&self) {
        *lock(&self.listener) = None;
    }
}

fn interrupted(listener: &Listener) {
    match lock(listener).take() {
        Some(sender) if sender.unbounded_send(Command::Cancel).is_ok() => {
            eprintln!(
                "Stopping; the best adapter so far is kept. Press Ctrl-C again to end at once."
            );
        }
        _ => process::exit(INTERRUPTED),
    }
}

fn lock(listener: &Listener) -> MutexGuard<'_, Option<UnboundedSender<Command>>> {
    listener.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_cancels_and_is_the_only_one_that_does() {
        let interrupt = Interrupt {
            listener: Listener::default(),
        };
        let mut commands = interrupt.listen();
        interrupted(&interrupt.listener);
        assert_eq!(commands.try_recv().unwrap(), Command::Cancel);
        assert!(lock(&interrupt.listener).is_none());
    }
}
