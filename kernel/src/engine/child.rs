//! The process in which the cells run. evcxr starts this same binary again for it, and again as a wrapper of rustc;
//! rust-analyzer starts it in the place of cargo.

use crate::reading;
use std::{env, os::unix::process::parent_id, process, thread, time::Duration};

/// Set by evcxr in the process of the cells.
const IS_CHILD: &str = "EVCXR_IS_RUNTIME";
/// What `RUST_BACKTRACE` was for the kernel. evcxr always sets it to 1 for the cells.
const BACKTRACE: &str = "GENAILAB_RUST_BACKTRACE";
/// How often a process looks whether the one that started it is still there.
const PARENT_CHECK: Duration = Duration::from_secs(1);

/// Must be the first call in `main`: where evcxr has started this binary for its own purposes, it does not return.
pub fn start_process() {
    reading::stand_in();
    if env::var_os(IS_CHILD).is_some() {
        // A panic is its message and its place, unless the user has asked for more.
        // SAFETY: `main` has started no thread yet.
        unsafe {
            match env::var_os(BACKTRACE) {
                Some(wanted) => env::set_var("RUST_BACKTRACE", wanted),
                None => env::remove_var("RUST_BACKTRACE"),
            }
            reading::leave_home();
        }
        // An endless loop would otherwise outlive a kernel that was killed.
        end_with_parent();
    }
    evcxr::runtime_hook();
}

/// Remembers whether the user wants backtraces, for the processes of the cells.
///
/// # Safety
/// It sets an environment variable: no other thread may run yet.
pub unsafe fn remember_backtrace() {
    if let Some(wanted) = env::var_os("RUST_BACKTRACE") {
        // SAFETY: the caller promises that this is the only thread.
        unsafe { env::set_var(BACKTRACE, wanted) };
    }
}

/// Ends this process soon after the one that started it.
pub fn end_with_parent() {
    let parent = parent_id();
    thread::spawn(move || {
        while parent_id() == parent {
            thread::sleep(PARENT_CHECK);
        }
        process::exit(1);
    });
}
