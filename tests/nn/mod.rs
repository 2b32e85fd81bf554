//! Fused operations and layers, against plain loops in f64, composed dfdx operations, PyTorch and scvi-tools.

mod attention;
mod fused;
mod gaussian;
pub mod harness;
mod layers;
mod likelihood;
mod lora;
mod losses;
mod numerics;
#[cfg(feature = "cuda")]
mod on_cuda;
mod oracle;
mod output_head;
mod posterior;
mod raw;
mod set_distance;
mod tokens;
mod transformer;
