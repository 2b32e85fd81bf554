//! The command line as its users meet it: `run`, `train`, `predict`, `simulate`, `bench-train`, `inspect`.
//!
//! Every mistake ends with exit code 1 and one line on stderr that names what was found, where, and what to do; nothing
//! half-written and no temporary file is left.

mod adapt;
mod configs;
mod cuda;
mod data;
mod de;
mod diffusion;
#[cfg(target_os = "linux")]
mod disk;
mod genes;
mod jepa;
mod jepa_contexts;
mod jepa_diffusion;
mod jepa_phase_a;
mod kills;
mod misplaced;
mod prediction;
mod running;
mod settings;
pub mod tool;
mod training;
