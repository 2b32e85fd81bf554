//! The JEPA of sets of cells as a predictor.

mod sets;

pub use sets::JepaSetsPredictor;
