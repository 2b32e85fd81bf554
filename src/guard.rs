//! One clear line where a damaged file makes HDF5's C library crash, or never end.
//!
//! HDF5 trusts much of what a file says, so a flipped bit can make it follow a wild pointer or loop for ever. Reading in a child
//! process would contain that, but what the child has read would have to be copied to us, or be read again. The process has
//! nothing to lose in that moment (outputs are renamed into place when they are complete), so it is enough that it ends as
//! every other failure does. The tool therefore handles the signals of a crash: on a thread that is inside a `Reading`, the
//! handler writes a prepared line and ends the process with exit code 1; elsewhere the signal does what it did before. A
//! second thread does the same to a read that shows no progress for too long. Both cost nothing while all is well.
//!
//! Notebooks and other programs do not call [`end_cleanly`]: the signals of a process belong to its main program.

use std::{
    cell::Cell,
    path::Path,
    ptr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

/// Seconds without progress after which a read is given up: one block of 8 MiB takes far less, on a slow network drive too.
const PATIENCE: u32 = 120;
/// Sets other seconds.
const VARIABLE: &str = "GENAILAB_READ_SECONDS";

/// What is said if the read of a thread fails for good.
struct Message {
    crashed: String,
    hung: String,
    /// Seconds since the last progress, as the watching thread counts them: it does not count while the process is stopped.
    idle: AtomicU32,
}

thread_local! {
    /// The read that this thread is in. Without a destructor, so that the signal handler may look at it at any time.
    static CURRENT: Cell<*const Message> = const { Cell::new(ptr::null()) };
}

static ALL: Mutex<Vec<Arc<Message>>> = Mutex::new(Vec::new());
static IS_ON: AtomicBool = AtomicBool::new(false);

/// While it lives, its thread reads a file by HDF5.
pub(crate) struct Reading {
    message: Option<Arc<Message>>,
    outer: *const Message,
}

impl Reading {
    /// Begins to read `path`.
    pub(crate) fn of(path: &Path) -> Self {
        let outer = CURRENT.get();
        if !IS_ON.load(Ordering::Relaxed) {
            return Self { message: None, outer };
        }
        let damaged = format!("error: {} is damaged: HDF5", path.display());
        let again = "download or copy it again";
        let message = Arc::new(Message {
            crashed: format!("{damaged} crashed while reading it; {again}\n"),
            hung: format!(
                "{damaged} made no progress for {} seconds while reading it; {again} (a slow drive needs more: set {VARIABLE})\n",
                patience()
            ),
            idle: AtomicU32::new(0),
        });
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&message));
        CURRENT.set(Arc::as_ptr(&message));
        Self { message: Some(message), outer }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        if let Some(message) = &self.message {
            progress();
            ALL.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, message));
        }
    }
}

/// Tells that reading goes on; called once per block.
pub(crate) fn progress() {
    if IS_ON.load(Ordering::Relaxed) {
        let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().for_each(|message| message.idle.store(0, Ordering::Relaxed));
    }
}

fn patience() -> u32 {
    std::env::var(VARIABLE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(PATIENCE)
}

/// For the main function of the tool: from now on, a crash or a hang inside HDF5 ends the process with one line on stderr and
/// exit code 1.
#[doc(hidden)]
#[cfg(unix)]
pub fn end_cleanly() {
    if IS_ON.swap(true, Ordering::Relaxed) {
        return;
    }
    unix::handle_crashes();
    let patience = patience();
    let watch = move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(hung) = all.iter().find(|message| message.idle.fetch_add(1, Ordering::Relaxed) >= patience) {
                unix::end(&hung.hung);
            }
        }
    };
    // Without the thread a hang is not noticed, which is no reason to refuse to work.
    let _ = std::thread::Builder::new().name("watch HDF5".to_owned()).spawn(watch);
}

/// Does nothing on this system.
#[doc(hidden)]
#[cfg(not(unix))]
pub fn end_cleanly() {}

#[cfg(unix)]
mod unix {
    use super::{CURRENT, OnceLock};
    use std::{mem::MaybeUninit, ptr};

    /// What ends a process that has lost its way; SIGABRT is how the C library reports a damaged heap.
    const SIGNALS: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];
    /// What the signals did before.
    static BEFORE: OnceLock<[libc::sigaction; 5]> = OnceLock::new();

    pub(super) fn handle_crashes() {
        let before = SIGNALS.map(|signal| {
            let mut old = MaybeUninit::zeroed();
            // SAFETY: a null pointer asks for the action without changing it, which is then written to `old`.
            unsafe {
                libc::sigaction(signal, ptr::null(), old.as_mut_ptr());
                old.assume_init()
            }
        });
        if BEFORE.set(before).is_err() {
            return;
        }
        for signal in SIGNALS {
            // SAFETY: zeros are a valid `sigaction`; the handler has the signature that SA_SIGINFO asks for, and does only what is
            // allowed in a handler. SA_ONSTACK: a stack that has overflowed has no room for it; Rust gives threads a second one.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_crash as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(signal, &action, ptr::null_mut());
            }
        }
    }

    extern "C" fn on_crash(signal: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: set and reset by this very thread, and the message lives as long as it is set.
        if let Some(message) = unsafe { CURRENT.get().as_ref() } {
            end(&message.crashed);
        }
        // Not while reading: the instruction is executed again (or `abort` goes on) under the earlier action.
        if let (Some(before), Some(place)) = (BEFORE.get(), SIGNALS.iter().position(|known| *known == signal)) {
            // SAFETY: an action that was in force before.
            unsafe { libc::sigaction(signal, &before[place], ptr::null_mut()) };
        }
    }

    /// Says the line and ends the process, by calls that a signal handler may make.
    pub(super) fn end(line: &str) -> ! {
        // SAFETY: the pointer and the length are those of `line`; both calls are async-signal-safe (POSIX).
        unsafe {
            libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
            libc::_exit(1)
        }
    }
}
