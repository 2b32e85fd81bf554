//! A training holds no more memory after many epochs than after two.

use super::{
    model::{Line, Rows},
    trainer::{config, silent},
};
use genailab::{
    dfdx::prelude::Cpu,
    train::{EpochRecord, TrainConfig, fit},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ops::ControlFlow,
};

thread_local! {
    /// Bytes that this thread has allocated and not freed; other tests run in other threads.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LIVE.try_with(|live| live.set(live.get() + layout.size() as isize));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get() - layout.size() as isize));
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn memory_does_not_grow_over_epochs() {
    let device = Cpu::default();
    let mut line = Line::new(&device);
    let mut live = Vec::with_capacity(100);
    let mut options = silent();
    options.callbacks.push(Box::new(|_: &EpochRecord| {
        live.push(LIVE.get());
        ControlFlow::Continue(())
    }));
    // Every gradient and every batch that stayed would add some 50 bytes to 2 KB, 400 times an epoch.
    let config = TrainConfig { epochs: 20, batch_size: 1, early_stopping: Some(20), ..config() };
    fit(&mut line, &Rows::new(400, 1), Some(&Rows::new(30, 2)), &device, &config, &mut options).unwrap();
    drop(options);
    assert!(live[0] > 1000, "nothing was counted");
    // The history itself takes under 1 KB an epoch.
    assert!(live[19] - live[1] < 20_000, "{live:?}");
}
