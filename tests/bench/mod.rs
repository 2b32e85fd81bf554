//! The benchmark's engine and `genailab bench`: what must come out of predictors whose quality is known, of files that
//! are wrong, of a run that is stopped and goes on.

mod ablation;
mod command;
mod common;
mod contract;
mod embeddings;
mod failures;
mod files;
mod metrics;
mod mistakes;
mod python_tools;
mod real;
mod referees;
mod reference;
mod resume;
mod scoring;
mod space;
mod statistics;
mod told;
mod uncertainty;
