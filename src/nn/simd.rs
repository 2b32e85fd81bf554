//! Code compiled for the widest vectors of this processor, chosen at run time.
//!
//! A crate that a notebook compiles cannot choose a target processor, so a loop that is to become SIMD code is compiled
//! several times (baseline, x86-64-v3, AVX-512; NEON is aarch64's baseline) and picked when it runs.

/// Evaluates an expression compiled for the widest vectors of this processor.
///
/// The expression and all that it calls must be inlined into the function that has the processor's features: mark
/// functions it calls `#[inline(always)]`. This is a macro, so that no call forgets the same attribute on the closure.
/// The expression may not move what it captures.
macro_rules! dispatch {
    ($body:expr) => {
        pulp::Arch::new().dispatch($crate::nn::simd::Vectorised(
            #[inline(always)]
            || $body,
        ))
    };
}
pub(crate) use dispatch;

/// A closure for [`dispatch!`]. It is called as `FnMut`: to call a borrowing closure as `FnOnce`, as `pulp` does with a
/// bare one, goes through a shim that is compiled on its own, for the baseline processor.
pub(crate) struct Vectorised<F>(pub(crate) F);

impl<R, F: FnMut() -> R> pulp::WithSimd for Vectorised<F> {
    type Output = R;
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}
