//! Ctrl-C: what it ends, and what it leaves.

use super::warn;
use genailab::{Error, ErrorKind, Result};
use std::{
    fmt::Display,
    io::IsTerminal,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Raised by Ctrl-C where [`interrupt_flag`] was asked for.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static IS_ASKED_FOR: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C (and the signal to terminate) ends the program with one line, and leaves nothing half-written.
pub fn listen_for_interrupts() {
    #[cfg(unix)]
    let survives_hangup = is_ignored(libc::SIGHUP);
    let listening = ctrlc::set_handler(|| {
        if IS_ASKED_FOR.load(Ordering::SeqCst) && !INTERRUPTED.swap(true, Ordering::SeqCst) {
            // For the person at the keyboard; a script is told once, when the program ends.
            if std::io::stderr().is_terminal() {
                warn("stopping; press Ctrl-C again to stop at once");
            }
            return;
        }
        genailab::files::remove_unfinished();
        warn("error: interrupted");
        end_at_once();
    });
    // Without a handler the signal ends the program all the same; the next command removes what it leaves.
    drop(listening);
    #[cfg(unix)]
    if survives_hangup {
        // Started by nohup, it goes on when the terminal is closed.
        // SAFETY: it sets how a signal is met, and nothing else.
        unsafe {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
        }
    }
}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: without a new action it only reads the present one into `action`, for which all zeros are a value.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Ends the program while other threads work. What the C library would do at the end is left out: HDF5 would close files that are in
/// use.
fn end_at_once() -> ! {
    #[cfg(unix)]
    // SAFETY: it takes a number and does not come back.
    unsafe {
        libc::_exit(1)
    }
    #[cfg(not(unix))]
    std::process::exit(1)
}

/// A flag that Ctrl-C raises: the first asks the training to stop at its last checkpoint, the second ends the program.
pub fn interrupt_flag() -> Arc<AtomicBool> {
    IS_ASKED_FOR.store(true, Ordering::SeqCst);
    Arc::clone(&INTERRUPTED)
}

/// Ends a command between two of its parts if Ctrl-C was pressed; `kept` says what is left of it.
pub fn check_interrupt(flag: &AtomicBool, kept: impl Display) -> Result<()> {
    match flag.load(Ordering::SeqCst) {
        true => Err(Error::new(ErrorKind::Interrupted, format!("interrupted; {kept}"))),
        false => Ok(()),
    }
}
