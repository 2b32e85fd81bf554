//! Diffusion in the JEPA's embedding space.

mod cells;
mod gaussian;
