//! Fused operations and layers, against plain loops in f64, composed dfdx operations, PyTorch and scvi-tools.

mod attention;
mod fused;
mod harness;
mod layers;
mod likelihood;
mod losses;
mod oracle;
mod set_distance;
mod tokens;
mod transformer;
