//! Damaged files of every kind that the tool reads, made from small whole ones by a mutator of our own: nothing may panic,
//! crash, hang, take all memory, or say more than one line.
//!
//! ```text
//! cargo test --release --test integration fuzz::      some hundred files of each kind
//! make fuzz N=100000 SEED=7                           as many as you like; what fails is kept in target/tmp/fuzz
//! ```
//!
//! Every file is made of the seed and its own number, so that one that fails can be made again alone.

mod files;
mod mutate;
mod texts;

use std::{
    env,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many damaged files, and of which seed.
struct Campaign {
    inputs: usize,
    seed: u64,
}

impl Campaign {
    /// `inputs` files, unless the environment says otherwise.
    fn of(inputs: usize) -> Self {
        let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        Self {
            inputs: number("GENAILAB_FUZZ").map_or(inputs, |n| n as usize),
            seed: number("GENAILAB_FUZZ_SEED").unwrap_or(1),
        }
    }

    /// Hands every file in turn to `judge`, on `threads` threads. It says what is wrong, if anything is; such a file is kept, and
    /// the test fails at the end.
    fn run(
        &self,
        kind: &str,
        sources: &[Vec<u8>],
        threads: usize,
        judge: impl Fn(usize, &[u8]) -> Result<(), String> + Sync,
    ) {
        assert!(!sources.is_empty(), "no {kind} to damage");
        let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            loop {
                let input = next.fetch_add(1, Ordering::Relaxed);
                if input >= self.inputs {
                    return;
                }
                let source = &sources[input % sources.len()];
                let bytes = mutate::damaged(source, &sources[(input / 7) % sources.len()], self.seed, input);
                if let Err(what) = judge(input, &bytes) {
                    let path = self.keep(kind, input, &bytes);
                    found.lock().expect("no thread panics with it").push(format!("{}: {what}", path.display()));
                }
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let found = found.into_inner().expect("no thread panics with it");
        println!("{kind}: {} damaged files, seed {}, {} findings", self.inputs, self.seed, found.len());
        assert!(found.is_empty(), "{kind}, seed {}:\n{}", self.seed, found.join("\n"));
    }

    fn keep(&self, kind: &str, input: usize, bytes: &[u8]) -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
        std::fs::create_dir_all(&folder).expect("the folder of the build can be written");
        let path = folder.join(format!("{}-{input}-{kind}", self.seed));
        std::fs::write(&path, bytes).expect("the folder of the build can be written");
        path
    }
}
