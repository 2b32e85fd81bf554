//! The contract of models: a small model taken through it, and every model of the registry.

mod checkpoints;
mod damage;
mod presets;
mod toy;
