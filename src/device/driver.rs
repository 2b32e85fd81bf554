//! What NVIDIA's driver says, asked through its library, which is loaded when the program runs: a program that is linked to it
//! would not start where there is none. Unlike `/proc/driver/nvidia`, the library is there in WSL2 too, and it honours
//! `CUDA_VISIBLE_DEVICES`.

use std::sync::OnceLock;

/// The GPUs that this process may use, 0 without a driver. Asked once.
pub fn nvidia_gpus() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| count().unwrap_or(0))
}

/// `None` without a library, or where it reports an error.
#[cfg(unix)]
fn count() -> Option<usize> {
    use std::ffi::{CStr, c_int, c_uint, c_void};

    /// CUDA_SUCCESS
    const SUCCESS: c_int = 0;

    fn function(library: *mut c_void, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: `library` is open, and is never closed; the name ends with a zero.
        let found = unsafe { libc::dlsym(library, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    }

    // SAFETY: the name ends with a zero. What the library does when it is loaded is the driver's own business; every CUDA
    // program loads it so.
    let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return None;
    }
    let (init, device_count) = (function(library, c"cuInit")?, function(library, c"cuDeviceGetCount")?);
    // SAFETY: these are the functions of cuda.h by these names: CUresult cuInit(unsigned int),
    // CUresult cuDeviceGetCount(int *); CUresult is an int.
    let (init, device_count) = unsafe {
        (
            std::mem::transmute::<*mut c_void, extern "C" fn(c_uint) -> c_int>(init),
            std::mem::transmute::<*mut c_void, extern "C" fn(*mut c_int) -> c_int>(device_count),
        )
    };
    let mut found: c_int = 0;
    if init(0) != SUCCESS || device_count(&raw mut found) != SUCCESS {
        return None;
    }
    usize::try_from(found).ok()
}

/// CUDA is built on Unix alone here.
#[cfg(not(unix))]
fn count() -> Option<usize> {
    None
}
